import { schedule } from 'node-cron';

/** The time, and a way to be woken; tests pass one that runs through a year in seconds. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls once, at or soon after that time; @returns what takes it back. */
  wakeAt(time: number, call: () => void): () => void;
  /** Calls every minute; a call that still goes on is not doubled. @returns what ends it. */
  everyMinute(call: () => Promise<void>): () => void;
}

/** No timer is trusted for longer: the wall clock may be set, and the machine may sleep. */
const longestNapMs = 30_000;

/** node-cron would print on the console. What goes wrong in a call is the caller's to tell. */
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };

export const systemClock: Clock = {
  now: () => Date.now(),
  wakeAt(time, call) {
    let timer: NodeJS.Timeout;
    const arm = (): void => {
      const left = time - Date.now();
      timer = setTimeout(() => (left <= longestNapMs ? call() : arm()), Math.min(Math.max(left, 0), longestNapMs));
    };
    arm();
    return () => clearTimeout(timer);
  },
  everyMinute(call) {
    const task = schedule('* * * * *', call, { noOverlap: true, suppressMissedWarning: true, logger: silent });
    return () => void task.destroy();
  },
};
