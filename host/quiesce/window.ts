import { AppError, toAppError } from '../../shared/errors.ts';
import { exitStatus } from '../commands/context.ts';
import type { Connection } from '../libvirt/connection.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { consistencyAfterThaw, consistencyAtFreeze, satisfies, type RequiredLevel } from './consistency.ts';
import { vssWarning } from './eligibility.ts';
import { Hold, type HoldOptions } from './hold.ts';
import { blankResult, type QuiesceResult } from './result.ts';
import { readSubject } from './subject.ts';
import { guardWords, releaseHeld, thawCommand, thawHeld, type ThawOutcome } from './thaw.ts';

/** One guest in a window that several share. */
export interface Participant {
  readonly hold: Hold;
  readonly require: RequiredLevel;
  result: QuiesceResult;
}

export interface ParticipantOptions extends HoldOptions {
  readonly require: RequiredLevel;
}

export function participate(connection: Connection, ref: DomainRef, options: ParticipantOptions): Participant {
  return { hold: new Hold(connection, ref, options), require: options.require, result: blankResult(ref.name, ref.uuid) };
}

/** The result of a domain that could not be done, from the error that says why. */
export function failResult(result: QuiesceResult, thrown: unknown): QuiesceResult {
  const error = toAppError(thrown);
  const busy = ['busy', 'agent-lock', 'domain-lock', 'job-active'].includes(error.code);
  const status = busy ? 'busy' : error.code === 'refused' ? 'refused' : 'failed';
  return { ...result, status, code: error.code, reason: error.message };
}

/** Runs one step for every guest side by side; what fails is put into its result. @returns whether all succeeded. */
async function forEach(participants: readonly Participant[], step: (each: Participant) => Promise<void>): Promise<boolean> {
  await Promise.all(
    participants.map(async (each) => {
      try {
        await step(each);
      } catch (thrown) {
        each.result = failResult(describe(each), thrown);
      }
    }),
  );
  return participants.every((each) => each.result.status === 'ok');
}

/** What is known of the lease, put into the result. */
function describe({ hold, result }: Participant): QuiesceResult {
  const { record } = hold;
  if (record === null) return result;
  return {
    ...result,
    leaseId: record.id,
    leaseSeconds: record.leaseSeconds,
    deadline: hold.deadline,
    guard: hold.guard,
    frozenCount: hold.frozenCount,
    expectedCount: hold.facts?.freezable?.expectedCount ?? null,
    skipped: [...(hold.facts?.freezable?.skipped ?? [])],
    wasOurs: true,
  };
}

/** Everything slow, for all guests: checks, leases, guards. Nothing is frozen after it. @returns whether all can be frozen. */
export async function prepareWindow(participants: readonly Participant[]): Promise<boolean> {
  return forEach(participants, async (each) => {
    await each.hold.prepare();
    each.result = describe(each);
    if (each.hold.facts?.isWindows === true) each.hold.options.warn(`${each.hold.ref.name}: ${vssWarning}`);
  });
}

/** Freezes all guests side by side. @returns whether all are frozen, at the level that each requires. */
export async function freezeWindow(participants: readonly Participant[]): Promise<boolean> {
  return forEach(participants, async (each) => {
    const { hold, require } = each;
    if (!hold.paused) await hold.freeze();
    const verdict = hold.paused
      ? ({ consistency: 'paused', reason: 'the guest is paused' } as const)
      : consistencyAtFreeze(hold.frozenFacts);
    each.result = {
      ...describe(each),
      state: hold.paused ? 'thawed' : 'frozen',
      consistency: verdict.consistency,
      consistencyReason: verdict.reason,
    };
    if (!satisfies(verdict.consistency, require)) {
      throw new AppError(
        'refused',
        `${hold.ref.name}: ${require} consistency is required, but a copy would have ${verdict.consistency}: ${verdict.reason ?? ''}`,
      );
    }
  });
}

/**
 * Thaws every guest that may be frozen, verified, and gives the leases back. Never throws: each result says how it ended.
 * @param waitMs how long to wait for a guest that does not answer before its guard is left alone with it.
 */
export async function closeWindow(participants: readonly Participant[], waitMs: number): Promise<void> {
  await Promise.all(
    participants.map((each) =>
      closeOne(each, waitMs).catch((thrown: unknown) => {
        each.result = failResult(each.result, thrown);
      }),
    ),
  );
}

async function closeOne(each: Participant, waitMs: number): Promise<void> {
  const { hold } = each;
  try {
    if (hold.paused) await recheckPaused(each);
    if (hold.record === null) {
      if (each.result.state === 'unknown' && hold.facts !== null) each.result = { ...each.result, state: hold.facts.status };
      return;
    }
    const mayBeFrozen = ['freezing', 'unknown', 'frozen'].includes(hold.phase.is);
    if (mayBeFrozen) {
      // A freeze that threw between its phase and its call leaves `freezing`: nothing of ours will be sent any more.
      if (hold.phase.is === 'freezing') hold.enter({ is: 'unknown' });
      const outcome = await thawHeld(hold, waitMs);
      each.result = settle(each, outcome);
      if (outcome.state !== 'thawed') {
        each.result = await mayStayFrozen(each.result, hold, outcome.reason);
        return;
      }
    } else {
      each.result = { ...each.result, state: each.result.code === 'refused' ? 'frozen' : 'thawed' };
    }
    const left = await releaseHeld(hold);
    if (left !== null && each.result.status === 'ok') each.result = failResult(each.result, left);
  } finally {
    await hold.session.close();
  }
}

/** The words and the status for a guest that could not be verified thawed. */
export async function mayStayFrozen(
  result: QuiesceResult,
  held: Parameters<typeof thawCommand>[0] & { readonly directory: string },
  why: string | null,
): Promise<QuiesceResult> {
  const guard = await guardWords(held.directory);
  const reason = `${held.ref.name}: may still be frozen${why === null ? '' : ` (${why})`}; ${guard}; by hand: ${thawCommand(held)}`;
  return { ...result, status: 'maybe-frozen', code: result.code ?? 'agent-silent', reason };
}

function settle({ hold, result, require }: Participant, outcome: ThawOutcome): QuiesceResult {
  const frozenMs =
    outcome.thawedAtMs !== null && hold.frozenAtMs !== null
      ? Math.round(outcome.thawedAtMs - hold.frozenAtMs)
      : (outcome.thawedAtCentis - hold.sinceCentis) * 10;
  const settled: QuiesceResult = {
    ...result,
    thawedCount: outcome.thawedCount,
    frozenMs: outcome.state === 'thawed' && hold.frozenCount !== null ? frozenMs : null,
    state: outcome.state,
    leaseExpired: outcome.leaseExpired,
  };
  if (hold.frozenCount === null) return settled;
  const verdict = consistencyAfterThaw(hold.frozenFacts, outcome);
  const judged = { ...settled, consistency: verdict.consistency, consistencyReason: verdict.reason };
  if (judged.status !== 'ok' || satisfies(verdict.consistency, require)) return judged;
  const words = `${hold.ref.name}: ${require} consistency is required, but the cut has ${verdict.consistency}: ${verdict.reason ?? ''}`;
  return failResult(judged, new AppError('refused', words));
}

/** A guest that was resumed in the window was written to by it. */
async function recheckPaused(each: Participant): Promise<void> {
  const { state } = await readSubject(each.hold.session, each.hold.ref);
  if (state === 'paused' || each.result.status !== 'ok') return;
  each.result = { ...each.result, consistency: 'crash', consistencyReason: `the guest was paused, but is ${state} now` };
}

/** The exit status of a window: 70 over 3 over 75 over 1. */
export function statusOfWindow(results: readonly QuiesceResult[]): number {
  const has = (status: QuiesceResult['status']): boolean => results.some((result) => result.status === status);
  if (has('maybe-frozen')) return exitStatus.maybeFrozen;
  if (has('refused')) return exitStatus.refused;
  if (has('busy')) return exitStatus.busy;
  return has('failed') ? exitStatus.failed : exitStatus.done;
}
