import type { Claim, Turn } from '../trim/queue.ts';
import type { NextRun } from './next-run.ts';
import type { Target } from './target.ts';

/** A domain's place in the plan. */
export interface Entry {
  target: Target;
  phase: 'idle' | 'preparing' | 'waiting' | 'running';
  /** The occurrence that is next to be served, and when it is begun; null where there is none. */
  next: NextRun | null;
  attempts: number;
  /** While it waits its turn. */
  claim: Claim | null;
  /** While it has its place. */
  turn: Turn | null;
  leave: AbortController;
  /** Why it was put off, as last told. */
  told: string | null;
}

/** When its next run begins; Infinity where there is none. */
export function beginOf(entry: Entry): number {
  return entry.next?.at ?? Infinity;
}

export function newEntry(target: Target): Entry {
  return { target, phase: 'idle', next: null, attempts: 0, claim: null, turn: null, leave: new AbortController(), told: null };
}
