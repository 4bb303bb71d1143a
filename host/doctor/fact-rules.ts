import type { DiskFacts, DiskRule, DomainFacts, DomainRule, HostFacts, HostRule } from './facts.ts';
import { toFinding, type Finding } from './finding.ts';
import { agentAnswers } from './rules/agent-answers.ts';
import { agentChannel } from './rules/agent-channel.ts';
import { agentCommands } from './rules/agent-commands.ts';
import { agentVersion } from './rules/agent-version.ts';
import { backingHeader } from './rules/backing-header.ts';
import { clusterSize } from './rules/cluster-size.ts';
import { formatMismatch } from './rules/format-mismatch.ts';
import { fragmentation } from './rules/fragmentation.ts';
import { granularity } from './rules/granularity.ts';
import { guestFilesystems } from './rules/guest-filesystems.ts';
import { guestMapper } from './rules/guest-mapper.ts';
import { guestMemory } from './rules/guest-memory.ts';
import { hostBlockDevice } from './rules/host-block-device.ts';
import { hostFilesystem } from './rules/host-filesystem.ts';
import { hostSnapshots } from './rules/host-snapshots.ts';
import { hostSpace } from './rules/host-space.ts';
import { hostVersions } from './rules/host-versions.ts';
import { imageHealth } from './rules/image-health.ts';
import { imageReadable } from './rules/image-readable.ts';
import { internalSnapshots } from './rules/internal-snapshots.ts';
import { machineObserved } from './rules/machine-observed.ts';
import { manager } from './rules/manager.ts';
import { preallocation } from './rules/preallocation.ts';
import { qcow2Compat } from './rules/qcow2-compat.ts';
import { runningQemu } from './rules/running-qemu.ts';
import { windowsVss } from './rules/windows-vss.ts';
import { isTrimmable } from './subject.ts';

/** Per disk, beyond the XML, in the order in which a discard travels. */
export const diskRules: readonly DiskRule[] = [
  runningQemu,
  granularity,
  imageReadable,
  formatMismatch,
  imageHealth,
  qcow2Compat,
  backingHeader,
  internalSnapshots,
  clusterSize,
  fragmentation,
  preallocation,
  hostFilesystem,
  hostBlockDevice,
  hostSnapshots,
  hostSpace,
];

export const domainRules: readonly DomainRule[] = [
  guestFilesystems,
  guestMapper,
  guestMemory,
  windowsVss,
  machineObserved,
  manager,
  agentChannel,
  agentAnswers,
  agentCommands,
  agentVersion,
];

export const hostRules: readonly HostRule[] = [hostVersions];

export function judgeDisk(facts: DiskFacts): Finding[] {
  if (!isTrimmable(facts.disk)) return [];
  return diskRules.flatMap((rule) => {
    const judgement = rule.judge(facts);
    return judgement === null ? [] : [toFinding(rule, facts.disk.target, judgement)];
  });
}

export function judgeDomain(facts: DomainFacts): Finding[] {
  return domainRules.flatMap((rule) => {
    const judgement = rule.judge(facts);
    return judgement === null ? [] : [toFinding(rule, null, judgement)];
  });
}

export function judgeHost(facts: HostFacts): Finding[] {
  return hostRules.flatMap((rule) => {
    const judgement = rule.judge(facts);
    return judgement === null ? [] : [toFinding(rule, null, judgement)];
  });
}
