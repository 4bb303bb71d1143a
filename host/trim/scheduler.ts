/** A piece of work that occupies some backends while it runs. */
export interface Job<T> {
  readonly backends: readonly string[];
  readonly run: () => Promise<T>;
}

export interface Limits {
  /** Jobs at once, in all. */
  readonly parallel: number;
  /** Jobs at once on one backend. */
  readonly perBackend: number;
}

/**
 * Runs jobs within the limits, in their order except that one whose backend is full does not hold up those behind it. Each job
 * takes all its backends at once, so that no two can wait for each other.
 * @returns the results in the jobs' order; a job that rejects makes its own entry reject the whole, so jobs report failure as a result.
 */
export async function runWithinLimits<T>(jobs: readonly Job<T>[], limits: Limits): Promise<T[]> {
  const results = new Map<number, T>();
  const waiting = jobs.map((job, index) => ({ job, index }));
  const load = new Map<string, number>();
  const running = new Set<Promise<void>>();
  const fits = (job: Job<T>): boolean =>
    running.size < limits.parallel && job.backends.every((backend) => (load.get(backend) ?? 0) < limits.perBackend);
  const shift = (job: Job<T>, by: number): void => {
    for (const backend of job.backends) load.set(backend, (load.get(backend) ?? 0) + by);
  };
  const perform = async (job: Job<T>, index: number): Promise<void> => void results.set(index, await job.run());
  while (waiting.length > 0 || running.size > 0) {
    for (let at = 0; at < waiting.length;) {
      const entry = waiting[at];
      if (entry === undefined || !fits(entry.job)) {
        at += 1;
        continue;
      }
      waiting.splice(at, 1);
      shift(entry.job, 1);
      const task: Promise<void> = perform(entry.job, entry.index).finally(() => {
        shift(entry.job, -1);
        running.delete(task);
      });
      running.add(task);
    }
    await Promise.race(running);
  }
  return jobs.map((_job, index) => results.get(index) as T);
}
