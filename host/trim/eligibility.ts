import type { Domain } from '../libvirt/domains.ts';
import type { ActiveJob } from '../libvirt/jobs.ts';
import type { DiscardPath } from '../doctor/discard-path.ts';
import { isTrimmable } from '../doctor/subject.ts';

/** Why a domain is not trimmed. `neutral`: under --all that is nobody's fault. */
export interface Skip {
  readonly code:
    | 'off'
    | 'paused'
    | 'migrating'
    | 'job-active'
    | 'no-channel'
    | 'agent-disconnected'
    | 'discard-blocked'
    | 'no-disks'
    | 'degraded';
  readonly reason: string;
  readonly neutral: boolean;
}

function skip(code: Skip['code'], reason: string, neutral = false): Skip {
  return { code, reason, neutral };
}

function stateSkip(domain: Domain): Skip | null {
  switch (domain.state) {
    case 'running':
    case 'blocked':
      return domain.stateReason === 'post-copy' ? skip('migrating', 'it is migrating (post-copy)') : null;
    case 'paused':
      if (domain.stateReason === 'I/O error') return skip('degraded', 'it is paused by an I/O error: its storage is full or broken');
      if (domain.stateReason === 'migrating') return skip('migrating', 'it is migrating');
      return skip(
        'paused',
        `it is paused${domain.stateReason === null ? '' : ` (${domain.stateReason})`}; a paused guest cannot trim`,
        true,
      );
    case 'suspended':
      return skip('paused', 'it sleeps (pmsuspended)', true);
    case 'shut off':
    case 'crashed':
      return skip('off', `it is ${domain.state}${domain.stateReason === null ? '' : ` (${domain.stateReason})`}`, true);
    default:
      return skip('paused', `it is in the state '${domain.state}'`, true);
  }
}

/**
 * Whether a domain can be trimmed now, from what was read of it. A discard that cannot reach the host is reported before the guest is
 * put to work on it in vain; `force` tries all the same.
 */
export function decideSkip(domain: Domain, job: ActiveJob | null, paths: ReadonlyMap<string, DiscardPath>, force: boolean): Skip | null {
  const state = stateSkip(domain);
  if (state !== null) return state;
  if (job !== null)
    return skip(job.kind === 'migration' ? 'migrating' : 'job-active', `a job is active: ${job.detail}; try again when it has ended`);
  if (domain.channel === 'absent') return skip('no-channel', "it has no agent channel; 'virt-trim agent install' adds one");
  if (domain.channel === 'disconnected')
    return skip('agent-disconnected', 'no agent is connected in the guest: not installed, not started, or the guest is still booting');
  const disks = domain.disks.filter(isTrimmable);
  if (disks.length === 0) return skip('no-disks', 'it has no disk that could be trimmed', true);
  const blocked = disks.filter((disk) => paths.get(disk.target)?.verdict === 'blocks');
  if (blocked.length === disks.length && !force) {
    const first = blocked[0];
    const path = first === undefined ? undefined : paths.get(first.target);
    return skip(
      'discard-blocked',
      `discard does not reach the host on any disk: ${first?.target ?? ''}: ${path?.message ?? ''} [${path?.evidence ?? ''}] (--force tries all the same)`,
    );
  }
  return null;
}
