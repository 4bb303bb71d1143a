import { describe, expect, it } from 'vitest';
import { runWithinLimits, type Job } from '../../../host/trim/scheduler.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Jobs that take so many turns of the event loop, with a record of what ran beside what. */
class Workload {
  readonly started: number[] = [];
  readonly running = new Set<number>();
  readonly loads = new Map<string, number>();
  mostAtOnce = 0;
  readonly mostPerBackend = new Map<string, number>();

  job(index: number, backends: readonly string[], turns: number): Job<number> {
    return {
      backends,
      run: async () => {
        this.started.push(index);
        this.running.add(index);
        this.mostAtOnce = Math.max(this.mostAtOnce, this.running.size);
        for (const backend of backends) {
          const load = (this.loads.get(backend) ?? 0) + 1;
          this.loads.set(backend, load);
          this.mostPerBackend.set(backend, Math.max(this.mostPerBackend.get(backend) ?? 0, load));
        }
        for (let left = turns; left > 0; left -= 1) await turn();
        for (const backend of backends) this.loads.set(backend, (this.loads.get(backend) ?? 0) - 1);
        this.running.delete(index);
        return index * 10;
      },
    };
  }
}

/** A small generator of its own, so that a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % below;
  };
}

describe('runWithinLimits', () => {
  it.each(Array.from({ length: 20 }, (_, index) => index + 1))('never exceeds a limit and loses no job (seed %i)', async (seed) => {
    const pick = random(seed);
    const work = new Workload();
    const limits = { parallel: 1 + pick(6), perBackend: 1 + pick(3) };
    const jobs = Array.from({ length: 60 }, (_, index) =>
      work.job(index, Array.from(new Set(Array.from({ length: pick(4) }, () => `backend-${pick(4)}`))), 1 + pick(5)),
    );
    expect(await runWithinLimits(jobs, limits)).toEqual(jobs.map((_job, index) => index * 10));
    expect(work.mostAtOnce).toBeLessThanOrEqual(limits.parallel);
    for (const [backend, most] of work.mostPerBackend) expect(most, backend).toBeLessThanOrEqual(limits.perBackend);
    expect(work.started.toSorted((a, b) => a - b)).toEqual(jobs.map((_job, index) => index));
  });

  it('uses the room that there is', async () => {
    const work = new Workload();
    await runWithinLimits(
      Array.from({ length: 9 }, (_, index) => work.job(index, [`b${index % 3}`], 3)),
      { parallel: 3, perBackend: 1 },
    );
    expect(work.mostAtOnce).toBe(3);
  });

  it('a full backend does not hold up those that need another one', async () => {
    const work = new Workload();
    await runWithinLimits([work.job(0, ['a'], 9), work.job(1, ['a'], 1), work.job(2, ['b'], 1)], { parallel: 8, perBackend: 1 });
    expect(work.started).toEqual([0, 2, 1]);
  });

  it('keeps the order among equals', async () => {
    const work = new Workload();
    await runWithinLimits(
      Array.from({ length: 12 }, (_, index) => work.job(index, ['a'], 1)),
      { parallel: 2, perBackend: 2 },
    );
    expect(work.started).toEqual(Array.from({ length: 12 }, (_, index) => index));
  });

  it('a job that needs two backends is not passed over for ever', async () => {
    const work = new Workload();
    const both = work.job(0, ['a', 'b'], 1);
    const others = Array.from({ length: 100 }, (_, index) => work.job(index + 1, [index % 2 === 0 ? 'a' : 'b'], 2 + (index % 3)));
    await runWithinLimits([...others.slice(0, 2), both, ...others.slice(2)], { parallel: 2, perBackend: 1 });
    expect(work.started.indexOf(0)).toBeLessThan(40);
  });

  it('begins nothing any more after a job that broke', async () => {
    const work = new Workload();
    const broken: Job<number> = { backends: [], run: async () => Promise.reject(new Error('broken')) };
    await expect(runWithinLimits([broken, work.job(1, [], 1), work.job(2, [], 1)], { parallel: 1, perBackend: 1 })).rejects.toThrow(
      'broken',
    );
    for (let left = 10; left > 0; left -= 1) await turn();
    expect(work.started).toEqual([]);
  });

  it('has no jobs: is done', async () => {
    expect(await runWithinLimits([], { parallel: 1, perBackend: 1 })).toEqual([]);
  });
});
