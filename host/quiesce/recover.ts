import { AppError, toAppError } from '../../shared/errors.ts';
import { Connection } from '../libvirt/connection.ts';
import type { Domain } from '../libvirt/domains.ts';
import { readBootCentis, readBootId } from './boot-clock.ts';
import { armGuard, readGuardProgram, wakeGuard } from './guard.ts';
import { adoptLease, AdoptedHold } from './held.ts';
import { createLease, leaseDirectory, readLease, writePhase, type LeaseState } from './lease-files.ts';
import { hasRunOut, readMark, removeMarkCommand, type LeaseMark } from './lease-mark.ts';
import { newLeaseRecord } from './new-record.ts';
import { blankResult, type QuiesceResult } from './result.ts';
import { releaseHeld, thawHeld, type ThawOutcome } from './thaw.ts';
import { failResult, mayStayFrozen } from './window.ts';

/** What an interrupted run left, without touching it. */
export type Leftover =
  /** A living process works with it. */
  | 'in use'
  /** Frozen on purpose (`freeze`), until the deadline. */
  | 'within its lease'
  /** The guest is thawed or was never frozen; only the record is left. */
  | 'record only'
  /** The deadline has passed and the guest may be frozen. */
  | 'overdue';

export function classifyLeftover(lease: LeaseState, nowCentis: number): Leftover {
  if (lease.owners.length > 0) return 'in use';
  if (['armed', 'refused', 'thawed'].includes(lease.phase.is)) return 'record only';
  return lease.sameBoot && nowCentis < lease.deadlineCentis ? 'within its lease' : 'overdue';
}

/** A lease as a result tells it, before anything is done to it. */
export function leaseResult(lease: LeaseState): QuiesceResult {
  const { record, phase } = lease;
  const leftMs = (lease.deadlineCentis - readBootCentis()) * 10;
  const [guard] = lease.guards;
  return {
    ...blankResult(record.name, record.uuid),
    leaseId: record.id,
    leaseSeconds: record.leaseSeconds,
    deadline: new Date(Date.now() + leftMs).toISOString(),
    guard:
      lease.unit === null ? (guard === undefined ? null : { kind: 'detached', pid: guard.pid }) : { kind: 'systemd', unit: lease.unit },
    frozenCount: phase.is === 'frozen' ? phase.count : null,
    state: phase.is === 'frozen' ? 'frozen' : 'unknown',
    wasOurs: true,
    leaseExpired: leftMs <= 0,
  };
}

/** Thaws the guest of a lease that we own now, and removes the lease. */
export async function finishHeld(
  held: AdoptedHold,
  result: QuiesceResult,
  waitMs: number,
): Promise<QuiesceResult & { outcome?: ThawOutcome }> {
  try {
    const mayBeFrozen = ['freezing', 'unknown', 'frozen'].includes(held.phase.is);
    const outcome = mayBeFrozen ? await thawHeld(held, waitMs) : null;
    const done: QuiesceResult = {
      ...result,
      state: outcome?.state ?? 'thawed',
      thawedCount: outcome?.thawedCount ?? null,
      leaseExpired: outcome?.leaseExpired ?? result.leaseExpired,
      ...(outcome?.ended === true ? { reason: 'the run of the guest that was frozen is over; nothing was thawed' } : {}),
      frozenMs:
        outcome?.state === 'thawed' && !outcome.ended && held.phase.is === 'frozen'
          ? (outcome.thawedAtCentis - held.phase.sinceCentis) * 10
          : null,
    };
    if (outcome !== null && outcome.state !== 'thawed') return { ...(await mayStayFrozen(done, held, outcome.reason)), outcome };
    const left = await releaseHeld(held);
    const finished = left === null ? done : failResult(done, left);
    return outcome === null ? finished : { ...finished, outcome };
  } finally {
    await held.session.close();
  }
}

/**
 * Finishes what an interrupted run left of one lease. A lease within its time is left alone, but gets a guard where it has none.
 * Never throws: the result says how it went.
 */
export async function recoverLease(connection: Connection, lease: LeaseState, waitMs: number): Promise<QuiesceResult> {
  const result = leaseResult(lease);
  const leftover = classifyLeftover(lease, readBootCentis());
  try {
    if (leftover === 'in use') return { ...result, status: 'skipped', code: 'in-use', reason: 'a running command works with it' };
    if (leftover === 'within its lease') {
      if (lease.guards.length === 0) await wakeGuard(lease.directory);
      return { ...result, status: 'skipped', code: 'within-lease', reason: `frozen on purpose until ${result.deadline ?? '?'}` };
    }
    const held = await adoptLease(lease.record.uri === connection.uri.text ? connection : new Connection(lease.record.uri), lease);
    if (held === 'gone') return { ...result, state: 'thawed', reason: 'its guard has just ended it' };
    if (held === 'refused') return { ...result, status: 'skipped', code: 'in-use', reason: 'a running command works with it' };
    const { outcome: _outcome, ...finished } = await finishHeld(held, result, waitMs);
    return finished;
  } catch (thrown) {
    return failResult(result, thrown);
  }
}

/**
 * A lease that only the live metadata tells of: made on another host (the guest has moved here), or its record was lost. Its freeze is
 * virt-trim's own, so that it may be thawed, once its time is over.
 */
export async function recoverMark(
  connection: Connection,
  stateDirectory: string,
  domain: Domain,
  mark: LeaseMark,
  waitMs: number,
): Promise<QuiesceResult> {
  const result: QuiesceResult = { ...blankResult(domain.name, domain.uuid), leaseId: mark.id, deadline: mark.deadline, wasOurs: true };
  const now = { bootId: readBootId(), centis: readBootCentis(), wallMs: Date.now() };
  if (!hasRunOut(mark, now)) {
    const reason = `held by ${mark.user}@${mark.host} until ${mark.deadline}`;
    return { ...result, status: 'skipped', code: 'within-lease', reason };
  }
  try {
    return await takeOver(connection, stateDirectory, domain, mark.id, result, waitMs);
  } catch (thrown) {
    return failResult(result, thrown);
  }
}

/**
 * Thaws a guest that is frozen without a lease of ours in the state directory, as thoroughly as one that has one: by making it one.
 * @throws AppError what arming the guard can throw.
 */
export async function takeOver(
  connection: Connection,
  stateDirectory: string,
  domain: Domain,
  id: string | null,
  result: QuiesceResult,
  waitMs: number,
): Promise<QuiesceResult> {
  const own = { domainId: domain.id, peers: [], thawSeconds: 5, leaseSeconds: 1, caller: '' };
  const made = newLeaseRecord(connection, domain, own);
  const record = id === null ? made : { ...made, id };
  const directory = leaseDirectory(stateDirectory, domain.uuid);
  if ((await createLease(stateDirectory, record, readBootCentis() + 360_000, readGuardProgram())) === null) {
    throw new AppError('busy', `${domain.name}: another lease was just taken`);
  }
  const lease = await readLease(directory);
  if (lease === null) throw new AppError('internal', `${directory}: the lease has vanished`);
  const held = new AdoptedHold(connection, lease);
  try {
    const { status } = await armGuard(directory, record);
    if (status === 'frozen') {
      held.phase = { is: 'frozen', count: 0, sinceCentis: readBootCentis() };
      writePhase(directory, held.phase);
    }
  } catch (error) {
    held.enter({ is: 'refused' });
    await releaseHeld(held);
    await held.session.close();
    throw error;
  }
  const { outcome: _outcome, ...finished } = await finishHeld(held, result, waitMs);
  await connection.runAll([removeMarkCommand(domain.uuid)]).catch((error: unknown) => toAppError(error));
  return { ...finished, frozenMs: null };
}

/** Whether a domain's mark is one that no lease in the state directory accounts for. */
export function strayMark(domain: Domain, leases: readonly LeaseState[]): LeaseMark | null {
  const mark = readMark(domain);
  return mark === null || leases.some((lease) => lease.record.id === mark.id) ? null : mark;
}
