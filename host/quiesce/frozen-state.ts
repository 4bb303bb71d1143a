import type { Domain } from '../libvirt/domains.ts';
import { readBootCentis, readBootId } from './boot-clock.ts';
import { listLeases, type LeaseState } from './lease-files.ts';
import { hasRunOut, readMark } from './lease-mark.ts';

/** Who froze a guest, as `list` shows it. */
export interface FrozenState {
  readonly state: 'thawed' | 'frozen' | 'unknown';
  readonly by: 'us' | 'other' | null;
  readonly leaseId: string | null;
  /** ISO 8601; when the guard thaws it. */
  readonly deadline: string | null;
  /** ISO 8601. */
  readonly since: string | null;
}

const unknown: FrozenState = { state: 'unknown', by: null, leaseId: null, deadline: null, since: null };

/** The leases of the state directory, to be read once for all domains. @throws AppError `state-directory`. */
export async function readFrozenStates(stateDirectory: string): Promise<readonly LeaseState[]> {
  return listLeases(stateDirectory);
}

function fromLease(lease: LeaseState): FrozenState {
  const leftMs = (lease.deadlineCentis - readBootCentis()) * 10;
  const facts = {
    leaseId: lease.record.id,
    deadline: new Date(Date.now() + leftMs).toISOString(),
    since: lease.record.createdAt,
    by: 'us' as const,
  };
  if (lease.result?.is === 'thawed' || ['armed', 'refused', 'thawed'].includes(lease.phase.is)) return { ...facts, state: 'thawed' };
  return { ...facts, state: lease.phase.is === 'frozen' && leftMs > 0 && lease.sameBoot ? 'frozen' : 'unknown' };
}

/**
 * Who froze a domain since when, from our leases and its live metadata. Asks nobody and starts nothing: `agentSays`, where the agent was
 * asked anyway, is what is true of the guest; the rest tells who.
 */
export function frozenStateOf(domain: Domain, leases: readonly LeaseState[], agentSays: 'thawed' | 'frozen' | null): FrozenState {
  const lease = leases.find(({ record }) => record.uuid === domain.uuid);
  if (lease !== undefined) {
    const state = fromLease(lease);
    return agentSays === null ? state : { ...state, state: agentSays };
  }
  const mark = readMark(domain);
  if (mark !== null && agentSays !== 'thawed') {
    const over = hasRunOut(mark, { bootId: readBootId(), centis: readBootCentis(), wallMs: Date.now() });
    const state = agentSays ?? (over ? 'unknown' : 'frozen');
    return { state, by: 'other', leaseId: mark.id, deadline: mark.deadline, since: mark.since };
  }
  if (agentSays === 'frozen') return { ...unknown, state: 'frozen', by: 'other' };
  return agentSays === null ? unknown : { ...unknown, state: agentSays };
}
