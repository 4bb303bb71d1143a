import { isUnreadable } from '../libvirt/domains.ts';
import type { DiskSizes } from '../sizes/schema.ts';
import type { ListedDomain } from './gather.ts';
import type { FrozenState } from '../quiesce/frozen-state.ts';
import type { ListedDisk, ListedResult } from './schema.ts';

function diskResult(disk: DiskSizes): ListedDisk {
  const { target, source, format, capacityBytes, lengthBytes, allocationBytes, commitmentBytes, reclaimableByTrimBytes } = disk;
  return { target, source, format, capacityBytes, lengthBytes, allocationBytes, commitmentBytes, reclaimableBytes: reclaimableByTrimBytes };
}

/** One domain's entry in `list --json` (docs/schema/list.json). */
export function listResult(listed: ListedDomain, frozen: FrozenState): ListedResult {
  const { domain, ref, probe, known, lastTrim } = listed;
  if (isUnreadable(domain)) {
    return { name: ref.name, uuid: ref.uuid, status: 'failed', code: domain.error.code, reason: domain.error.message };
  }
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
    disks: listed.disks.map(diskResult),
    lastTrim: lastTrim === null ? null : { at: lastTrim.at, reclaimedBytes: lastTrim.reclaimedBytes, status: lastTrim.status },
    frozen,
  };
}
