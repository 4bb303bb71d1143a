import type { RunReason, Target } from './target.ts';

/** What is next for a domain. */
export interface NextRun {
  /** The occurrence that it serves. */
  readonly due: number;
  /** When it begins. */
  readonly at: number;
  readonly reason: RunReason;
}

/** So late it may begin and still be on time; later than that, time has been lost (the host was off, or slept) and the run is a missed one. */
export const tolerableLateMs = 10 * 60_000;

/**
 * The next run of a domain of which all occurrences up to `covered` are served.
 * @returns `forgiven`: what was missed is not made up for, so that all up to now counts as served.
 */
export function planNext(target: Target, covered: number, now: number, spreadMissed: boolean): { next: NextRun | null; forgiven: boolean } {
  const { timetable } = target;
  const occurrence = timetable?.next(covered) ?? null;
  if (timetable === null || occurrence === null) return { next: null, forgiven: false };
  if (now - occurrence.at <= tolerableLateMs) return { next: { ...occurrence, reason: 'schedule' }, forgiven: false };
  const regular = timetable.next(now);
  if (!target.catchUp) return { next: regular === null ? null : { ...regular, reason: 'schedule' }, forgiven: true };
  // It takes its place in a window that begins now; where its next time comes within another window's length, that one serves for both.
  const at = timetable.allowed(spreadMissed ? now + timetable.splayMs : now);
  if (spreadMissed && regular !== null && regular.at <= at + timetable.settings.windowMs)
    return { next: { ...regular, reason: 'schedule' }, forgiven: false };
  return { next: { due: occurrence.due, at, reason: 'catch-up' }, forgiven: false };
}

/** The same run later, unless the domain's next regular time comes first: then that one serves for both. */
export function putOff(target: Target, due: number, until: number, now: number): NextRun {
  const regular = target.timetable?.next(now) ?? null;
  return regular !== null && regular.at <= until ? { ...regular, reason: 'schedule' } : { due, at: until, reason: 'retry' };
}
