import { blockOf } from '../libvirt/domain-stats.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import { isUnreadable } from '../libvirt/domains.ts';
import { usedBytesPerDisk } from '../trim/guest-usage.ts';
import type { ListedDomain } from './gather.ts';
import type { FrozenState, ListedDisk, ListedResult } from './schema.ts';

/** What reclaiming could give, at best: the allocation that no filesystem of the guest uses. */
function reclaimable(allocation: number | null, used: number | null): number | null {
  return allocation === null || used === null ? null : Math.max(0, allocation - used);
}

function diskResult(listed: ListedDomain, disk: DiskDescription, used: number | null): ListedDisk {
  const domain = isUnreadable(listed.domain) ? null : listed.domain;
  const stats = blockOf(domain?.stats ?? null, disk.target);
  const allocationBytes = listed.allocation.get(disk.target)?.bytes ?? null;
  return {
    target: disk.target,
    source: disk.source,
    format: disk.format,
    capacityBytes: stats?.capacity ?? null,
    lengthBytes: listed.allocation.get(disk.target)?.lengthBytes ?? null,
    allocationBytes,
    commitmentBytes: listed.commitment.get(disk.target) ?? null,
    reclaimableBytes: reclaimable(allocationBytes, used),
  };
}

/** One domain's entry in `list --json` (docs/schema/list.json). */
export function listResult(listed: ListedDomain, frozen: FrozenState): ListedResult {
  const { domain, ref, probe, known, lastTrim } = listed;
  if (isUnreadable(domain)) {
    return { name: ref.name, uuid: ref.uuid, status: 'failed', code: domain.error.code, reason: domain.error.message };
  }
  const disks = domain.disks.filter((disk) => disk.source !== null && disk.device === 'disk');
  const used = usedBytesPerDisk(disks, probe?.ok === true ? probe.facts.filesystems : null);
  return {
    name: domain.name,
    uuid: domain.uuid,
    status: 'ok',
    code: probe?.ok === false ? probe.error.code : null,
    reason: probe?.ok === false ? probe.error.message : null,
    id: domain.id,
    state: domain.state,
    stateReason: domain.stateReason,
    agent: {
      channel: domain.channel === 'configured' ? 'disconnected' : domain.channel,
      answering: probe === null ? null : probe.ok,
      kind: known?.kind ?? null,
      version: known?.version ?? null,
      checkedAt: known?.checkedAt ?? null,
    },
    os: known?.os ?? null,
    disks: disks.map((disk) => diskResult(listed, disk, used.get(disk.target) ?? null)),
    lastTrim: lastTrim === null ? null : { at: lastTrim.at, reclaimedBytes: lastTrim.reclaimedBytes, status: lastTrim.status },
    frozen,
  };
}
