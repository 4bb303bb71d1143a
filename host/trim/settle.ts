import { setTimeout as sleep } from 'node:timers/promises';
import type { Measurement } from './measure.ts';

export interface Settled {
  readonly measurements: readonly Measurement[];
  /** Two readings in a row agreed, for every disk that can be measured. */
  readonly stable: readonly boolean[];
}

export interface SettleOptions {
  readonly intervalMs?: number;
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly clock?: Clock;
}

/** Time, so that a test need not wait. */
export interface Clock {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

/**
 * Reads until two readings in a row agree. A guest that goes on writing never comes to rest: after the deadline the last reading
 * stands, marked as not stable.
 */
export async function settle(read: () => Promise<readonly Measurement[]>, options: SettleOptions = {}): Promise<Settled> {
  const clock = options.clock ?? realClock;
  const end = clock.now() + (options.deadlineMs ?? 3000);
  let previous = await read();
  for (;;) {
    await clock.sleep(options.intervalMs ?? 60, options.signal);
    const current = await read();
    const stable = current.map((measurement, index) => measurement.bytes === previous[index]?.bytes);
    if (stable.every(Boolean) || clock.now() >= end) return { measurements: current, stable };
    previous = current;
  }
}
