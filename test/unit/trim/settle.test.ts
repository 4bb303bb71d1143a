import { describe, expect, it } from 'vitest';
import type { Measurement } from '../../../host/trim/measure.ts';
import { settle, type Clock, type SettleOptions } from '../../../host/trim/settle.ts';

/** Time that passes only when somebody sleeps. */
class FakeClock implements Clock {
  ms = 0;
  readonly now = (): number => this.ms;
  readonly sleep = async (ms: number): Promise<void> => {
    this.ms += ms;
  };
}

/** Each reading gives the next value of each disk; the last one stays. */
function reader(...disks: (readonly (number | null)[])[]): () => Promise<Measurement[]> {
  let reading = -1;
  return async () => {
    reading += 1;
    return disks.map((values) => ({
      bytes: values[Math.min(reading, values.length - 1)] ?? null,
      lengthBytes: null,
      method: 'st_blocks',
      reason: null,
    }));
  };
}

async function run(read: () => Promise<Measurement[]>, options: SettleOptions = {}) {
  const clock = new FakeClock();
  const settled = await settle(read, { clock, ...options });
  return { bytes: settled.measurements.map((each) => each.bytes), stable: settled.stable, ms: clock.ms };
}

describe('settle', () => {
  it('is content with two readings that agree', async () => {
    expect(await run(reader([5, 5]))).toEqual({ bytes: [5], stable: [true], ms: 60 });
  });

  it('goes on until they do', async () => {
    expect(await run(reader([9, 7, 6, 5, 5]))).toEqual({ bytes: [5], stable: [true], ms: 240 });
  });

  it('waits for the slowest disk', async () => {
    expect(await run(reader([1, 1, 1, 1], [4, 3, 2, 2]))).toMatchObject({ bytes: [1, 2], stable: [true, true], ms: 180 });
  });

  it('gives up after its deadline, and says which disk never came to rest', async () => {
    let n = 0;
    const endless = reader([7], [0]);
    const settled = await run(async () => (await endless()).map((each, index) => (index === 1 ? { ...each, bytes: (n += 1) } : each)), {
      deadlineMs: 3000,
    });
    expect(settled.stable).toEqual([true, false]);
    expect(settled.ms).toBeGreaterThanOrEqual(3000);
    expect(settled.ms).toBeLessThan(3100);
  });

  it('does not wait for what cannot be measured', async () => {
    expect(await run(reader([null]))).toMatchObject({ bytes: [null], ms: 60 });
  });

  it('reads at least twice, also where no time is left', async () => {
    let readings = 0;
    const settled = await run(
      async () => {
        readings += 1;
        return reader([3])();
      },
      { deadlineMs: 0 },
    );
    expect(readings).toBe(2);
    expect(settled.stable).toEqual([true]);
  });

  it('ends at once on an interruption', async () => {
    const controller = new AbortController();
    const reason = new Error('Ctrl-C');
    controller.abort(reason);
    await expect(settle(reader([1, 2, 3]), { signal: controller.signal })).rejects.toMatchObject({ cause: reason });
  });
});
