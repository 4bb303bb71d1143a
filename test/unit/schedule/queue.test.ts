import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { describeWait, TrimQueue, type Claim, type Turn, type Wait } from '../../../host/trim/queue.ts';
import { runWithinLimits } from '../../../host/trim/scheduler.ts';

const never = new AbortController().signal;

/** Claims that come in order; `granted` holds those let in, in the order in which they were. */
class Line {
  readonly granted: string[] = [];
  readonly turns = new Map<string, Turn>();
  readonly waits = new Map<string, Wait>();
  readonly queue: TrimQueue;

  constructor(queue: TrimQueue) {
    this.queue = queue;
  }

  async come(label: string, backends: string[], hypervisor = 'h1', signal = never): Promise<void> {
    const claim: Claim = { label, hypervisor, backends };
    const waits = (wait: Wait): void => void this.waits.set(label, wait);
    void this.#enter(claim, signal, waits);
    await tick();
  }

  async #enter(claim: Claim, signal: AbortSignal, waits: (wait: Wait) => void): Promise<void> {
    const turn = await this.queue.enter(claim, signal, waits).catch(() => null);
    if (turn === null) return;
    this.granted.push(claim.label);
    this.turns.set(claim.label, turn);
  }

  async leave(label: string): Promise<void> {
    this.turns.get(label)?.leave();
    await tick();
  }
}

const wide = { total: 100, perHypervisor: 100, perBackend: 2 };

describe('the queue', () => {
  it('holds each limit, and says what for', async () => {
    const line = new Line(new TrimQueue({ total: 3, perHypervisor: 2, perBackend: 1 }));
    await line.come('a', ['x']);
    await line.come('b', ['x']);
    await line.come('c', ['y']);
    await line.come('d', ['z']);
    await line.come('e', ['z'], 'h2');
    await line.come('f', [], 'h3');
    expect(line.granted).toEqual(['a', 'c', 'e']);
    expect(line.waits.get('b')).toEqual({ for: 'backend', name: 'x', holders: ['a'] });
    expect(line.waits.get('d')).toEqual({ for: 'hypervisor', name: 'h1', holders: ['a', 'c'] });
    expect(line.waits.get('f')).toMatchObject({ for: 'total' });
    expect(describeWait(line.waits.get('b') as Wait)).toBe('storage backend x (held by a)');
    await line.leave('a');
    expect(line.granted).toEqual(['a', 'c', 'e', 'b']);
  });

  it('first come, first served; one that waits for a busy backend does not hold up others', async () => {
    const line = new Line(new TrimQueue(wide));
    for (const label of ['a1', 'a2', 'a3', 'a4']) await line.come(label, ['a']);
    await line.come('b1', ['b']);
    expect(line.granted).toEqual(['a1', 'a2', 'b1']);
    await line.leave('a2');
    await line.leave('a1');
    expect(line.granted).toEqual(['a1', 'a2', 'b1', 'a3', 'a4']);
  });

  it('one that needs two backends is not passed over for ever', async () => {
    const line = new Line(new TrimQueue({ ...wide, perBackend: 1 }));
    await line.come('hold-a', ['a']);
    await line.come('both', ['a', 'b']);
    for (let round = 0; round < 40; round += 1) {
      await line.come(`b${round}`, ['b']);
      if (round > 0) await line.leave(`b${round - 1}`);
    }
    expect(line.granted).not.toContain('both');
    expect(line.granted.length).toBeLessThan(20); // b16 and later wait behind it
    await line.leave('hold-a');
    for (const label of line.turns.keys()) await line.leave(label);
    expect(line.granted).toContain('both');
    await line.leave('both');
    expect(line.queue.waiting.filter(({ claim }) => claim.backends.includes('a'))).toEqual([]);
  });

  it('a place is given back once, and one that is no longer wanted is nobody else’s obstacle', async () => {
    const line = new Line(new TrimQueue({ ...wide, perBackend: 1 }));
    const stop = new AbortController();
    await line.come('a', ['x']);
    await line.come('gone', ['x'], 'h1', stop.signal);
    await line.come('b', ['x']);
    stop.abort();
    await line.leave('a');
    await line.leave('a');
    await line.come('c', ['x']);
    expect(line.granted).toEqual(['a', 'b']);
  });

  it('the gate holds back what the limits would let in', async () => {
    let pressed = true;
    const queue = new TrimQueue(wide, (_claim, running) => (pressed && running.length > 0 ? 'the host is busy' : null));
    const line = new Line(queue);
    await line.come('a', ['x']);
    await line.come('b', ['y']);
    expect(line.granted).toEqual(['a']);
    expect(line.waits.get('b')).toEqual({ for: 'pressure', name: 'the host is busy', holders: [] });
    pressed = false;
    queue.pump();
    await tick();
    expect(line.granted).toEqual(['a', 'b']);
  });

  it('wider limits let in more at once; narrower ones send nobody away', async () => {
    const line = new Line(new TrimQueue({ ...wide, perBackend: 1 }));
    for (const label of ['a', 'b', 'c', 'd']) await line.come(label, ['x']);
    line.queue.setLimits({ ...wide, perBackend: 3 });
    await tick();
    expect(line.granted).toEqual(['a', 'b', 'c']);
    line.queue.setLimits({ ...wide, perBackend: 1 });
    await line.leave('a');
    await line.leave('b');
    expect(line.granted).toEqual(['a', 'b', 'c']);
    await line.leave('c');
    expect(line.granted).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('a run over many domains', () => {
  it('keeps the order of results and the limits', async () => {
    let now = 0;
    let most = 0;
    const jobs = Array.from({ length: 20 }, (_, index) => ({
      backends: [`b${index % 2}`],
      run: async () => {
        now += 1;
        most = Math.max(most, now);
        await tick();
        now -= 1;
        return index;
      },
    }));
    expect(await runWithinLimits(jobs, { parallel: 3, perBackend: 2 })).toEqual(jobs.map((_job, index) => index));
    expect(most).toBe(3);
  });

  it('stops where a job throws', async () => {
    let begun = 0;
    const jobs = Array.from({ length: 5 }, () => ({
      backends: ['x'],
      run: async () => {
        begun += 1;
        await tick();
        throw new Error('broken');
      },
    }));
    await expect(runWithinLimits(jobs, { parallel: 1, perBackend: 1 })).rejects.toThrow('broken');
    expect(begun).toBe(1);
  });
});
