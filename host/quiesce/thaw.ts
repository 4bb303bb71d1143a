import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, toAppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { freezeStatus, frozenCount } from '../agent/schema.ts';
import { tryAgent } from './agent-session.ts';
import { readBootCentis } from './boot-clock.ts';
import { faultPoint } from './fault.ts';
import { stopGuard, wakeGuard } from './guard.ts';
import type { Held } from './held.ts';
import { isStillLease, readDeadline, readLease, readResult, removeLease, writeDeadline } from './lease-files.ts';
import { removeMarkCommand } from './lease-mark.ts';
import type { GuardResult } from './lease-record.ts';

export interface ThawOutcome {
  readonly state: 'thawed' | 'frozen' | 'unknown';
  /** What thaw answered, ours or the guard's. */
  readonly thawedCount: number | null;
  /** The agent's words, where thaw answered an error although the guest is thawed. */
  readonly thawError: string | null;
  readonly ended: boolean;
  readonly leaseExpired: boolean;
  /** performance.now() of the thaw's answer; null where the guard thawed. */
  readonly thawedAtMs: number | null;
  readonly thawedAtCentis: number;
  /** Why it is not verified. */
  readonly reason: string | null;
}

const quickSeconds = 5;
const pollMs = 25;
const rearmMs = 2000;

/**
 * Thaws a guest and returns when it is verified or `waitMs` have passed. Our own call comes first, because it is the quickest; where it
 * leaves a doubt the lease is ended and the guard does it, who knows how long to go on. No signal is taken: a thaw is never cancelled.
 */
export async function thawHeld(held: Held, waitMs: number): Promise<ThawOutcome> {
  const deadline = readDeadline(held.directory);
  const before = readResult(held.directory);
  const expired = (): boolean => before !== null || deadline === null || readBootCentis() >= deadline;
  faultPoint('before-thaw');
  const own = await thawOnce(held);
  faultPoint('after-thaw-verified');
  const facts = {
    thawedCount: own.count,
    // An error and `frozen` is a thaw that failed; an error and `thawed` is a guest that had thawed by itself.
    thawError: own.status === 'thawed' ? own.error : null,
    leaseExpired: expired(),
    thawedAtMs: own.atMs,
    thawedAtCentis: readBootCentis(),
    ended: false,
    reason: null,
  };
  // `thawed` is final only where the freeze call itself was answered: facts.md, or test/vm/quiesce-queued-freeze.
  if (own.status === 'thawed' && held.phase.is === 'frozen') return { ...facts, state: 'thawed' };
  const result = await waitForGuard(held, waitMs);
  if (result === null) return { ...facts, state: own.status === 'frozen' ? 'frozen' : 'unknown', reason: own.why };
  // A guard that found nothing to thaw after a call of ours whose answer is lost: that call has done it, or nothing was frozen.
  const lost = own.sent && result.count === 0;
  const thawedCount = own.count ?? (lost ? null : result.count);
  if (result.is === 'moved') return { ...facts, state: 'unknown', reason: 'the guest has moved to a host that we were not told of' };
  return { ...facts, state: 'thawed', ended: result.is === 'ended', thawedCount, thawedAtMs: null, thawedAtCentis: result.atCentis };
}

interface OwnThaw {
  readonly sent: boolean;
  readonly count: number | null;
  readonly error: string | null;
  readonly status: 'thawed' | 'frozen' | null;
  readonly atMs: number | null;
  readonly why: string | null;
}

async function thawOnce(held: Held): Promise<OwnThaw> {
  const { uuid } = held.ref;
  const nothing: OwnThaw = { sent: false, count: null, error: null, status: null, atMs: null, why: 'virsh has ended' };
  // Another run of the same domain may be frozen by somebody else: then only the guard, which looks, goes on.
  if (!held.session.usable || !(await held.isSameRun())) return nothing;
  const call = tryAgent(held.session, {
    uuid,
    command: 'guest-fsfreeze-thaw',
    schema: frozenCount,
    timeoutSeconds: held.thawSeconds,
    waitMs: (held.thawSeconds + 2) * 1000,
  });
  faultPoint('after-thaw-sent');
  const thaw = await call;
  const atMs = performance.now();
  faultPoint('after-thaw-answered');
  const status = await tryAgent(held.session, {
    uuid,
    command: 'guest-fsfreeze-status',
    schema: freezeStatus,
    timeoutSeconds: quickSeconds,
    waitMs: (quickSeconds + 2) * 1000,
  });
  if (!thaw.ok && thaw.error.code !== 'agent-error') {
    return { ...nothing, sent: true, status: status.ok ? status.value : null, why: thaw.error.message };
  }
  return {
    sent: true,
    count: thaw.ok ? thaw.value : null,
    error: thaw.ok ? null : cleanText(thaw.error.message),
    status: status.ok ? status.value : null,
    atMs,
    why: status.ok ? (thaw.ok ? 'the agent still says: frozen' : thaw.error.message) : status.error.message,
  };
}

async function waitForGuard(held: Held, waitMs: number): Promise<GuardResult | null> {
  const until = performance.now() + waitMs;
  let rearmAt = 0;
  try {
    writeDeadline(held.directory, 0);
  } catch (error) {
    if (!(error instanceof AppError)) throw error; // a full or read-only directory: the guard waits for the deadline it knows
  }
  for (;;) {
    const result = readResult(held.directory);
    if (result !== null) return result;
    const now = performance.now();
    if (now > until) return null;
    if (now > rearmAt) {
      await wakeGuard(held.directory);
      rearmAt = now + rearmMs;
    }
    await sleep(pollMs);
  }
}

/**
 * Gives a lease back whose guest is thawed, or was never frozen: guards stopped, mark and lease removed.
 * @returns what could not be removed, in words; null when nothing is left.
 */
export async function releaseHeld(held: Held): Promise<AppError | null> {
  const { record, directory, phase } = held;
  try {
    if (record === null || !isStillLease(directory, record.id)) return null;
    held.enter(phase.is === 'armed' || phase.is === 'refused' ? { is: 'refused' } : { is: 'thawed' });
    faultPoint('after-phase-thawed');
    await stopGuard(directory);
    faultPoint('after-guard-stopped');
    await removeMark(held);
    faultPoint('after-metadata-removed');
    await removeLease(directory, record.id);
    faultPoint('after-lease-removed');
    return null;
  } catch (error) {
    return toAppError(error);
  }
}

/** libvirtd may be restarting; a guest with the mark is taken for held by others until its deadline. */
const markTries = 20;
const markPauseMs = 500;

/** A domain that has gone takes its live metadata with it; where libvirt cannot be reached, `recover` finds the mark. */
async function removeMark(held: Held): Promise<void> {
  const command = removeMarkCommand(held.ref.uuid);
  if (held.session.usable && (await held.session.run(command, 10_000)).ok) return;
  for (let tries = 0; tries < markTries; tries += 1) {
    const answers = await held.connection.runAll([command]).catch((error: unknown) => toAppError(error));
    // An answer of libvirt's own, whatever it is, is the last word: removed, or not there.
    if (!(answers instanceof AppError) && answers[0] !== undefined && (answers[0].ok || answers[0].error.code !== 'connection-lost'))
      return;
    await sleep(markPauseMs);
  }
}

/** The command that an administrator can run where we cannot thaw. */
export function thawCommand(held: Pick<Held, 'connection' | 'ref'>): string {
  const { text } = held.connection.uri;
  const connect = text === '' ? '' : `-c '${text}' `;
  return `virsh ${connect}qemu-agent-command ${held.ref.uuid} '{"execute":"guest-fsfreeze-thaw"}'`;
}

/** Whether another process's guard still works on the lease, for messages. */
export async function guardWords(directory: string): Promise<string> {
  const lease = await readLease(directory);
  const guard = lease?.guards[0];
  if (guard !== undefined) return `its guard (process ${guard.pid}) goes on trying`;
  return lease?.unit === undefined || lease.unit === null
    ? 'no guard is left: run virt-trim recover'
    : `its guard (${lease.unit}) goes on trying`;
}
