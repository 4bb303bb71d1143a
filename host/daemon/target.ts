import type { Timetable } from '../schedule/timetable.ts';

/** A domain as the daemon plans for it. */
export interface Target {
  /** Its UUID; with the hypervisor's name behind it for a second domain of the same UUID that runs elsewhere. */
  readonly key: string;
  readonly uuid: string;
  readonly name: string;
  readonly hypervisor: string;
  /** Null: it is not trimmed by the schedule, for the reason in `excluded`. */
  readonly timetable: Timetable | null;
  readonly excluded: string | null;
  /** Whether a missed run is made up for. */
  readonly catchUp: boolean;
  readonly backends: readonly string[];
}

/** `schedule`: at its time. `catch-up`: a missed one, later. `retry`: it could not be done at its time. */
export type RunReason = 'schedule' | 'catch-up' | 'retry';

/** What became of an attempt. `again` asks for another one, at most `attempts` times in all (Infinity: until its next time comes). */
export type AttemptEnd =
  | { readonly again: null }
  | { readonly again: { readonly why: string; readonly afterMs: number; readonly attempts: number } };

/** What the engine tells while it works: the log's and the status file's source. */
export type EngineEvent =
  | { readonly type: 'waiting'; readonly target: Target; readonly what: string }
  | { readonly type: 'started'; readonly target: Target; readonly reason: RunReason; readonly due: number; readonly waitedMs: number }
  | { readonly type: 'postponed'; readonly target: Target; readonly why: string; readonly until: number }
  | { readonly type: 'gave-up'; readonly target: Target; readonly why: string }
  | { readonly type: 'missed'; readonly target: Target; readonly due: number; readonly at: number }
  | { readonly type: 'not-doubled'; readonly target: Target; readonly due: number };
