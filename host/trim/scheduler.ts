import { TrimQueue } from './queue.ts';

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
 * Runs the jobs of one command within the limits, in TrimQueue's order.
 * @returns the results in the jobs' order. A job that rejects makes the whole reject, and none that waits is begun any more; so jobs
 * report a failure of their own as a result.
 */
export async function runWithinLimits<T>(jobs: readonly Job<T>[], limits: Limits): Promise<T[]> {
  const queue = new TrimQueue({ total: limits.parallel, perHypervisor: limits.parallel, perBackend: limits.perBackend });
  const broken = new AbortController();
  return Promise.all(
    jobs.map(async (job, index) => {
      const turn = await queue.enter({ label: String(index), hypervisor: '', backends: job.backends }, broken.signal);
      try {
        return await job.run();
      } catch (thrown) {
        broken.abort(thrown);
        throw thrown;
      } finally {
        turn.leave();
      }
    }),
  );
}
