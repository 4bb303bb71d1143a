import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Measurement } from '../../../host/trim/measure.ts';
import { TrimProgress } from '../../../host/trim/progress.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const bytes = (value: number | null): Measurement[] => [{ bytes: value, lengthBytes: null, method: 'st_blocks', reason: null }];

function terminal(): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { stream: Object.assign(stream, { isTTY: true, columns: 100, rows: 30 }) as unknown as NodeJS.WriteStream, text: () => text };
}

describe('TrimProgress', () => {
  it('shows what images gave back so far, and which guests are at it', async () => {
    const { stream, text } = terminal();
    const progress = new TrimProgress(stream);
    const readings = [10 * 2 ** 20, 4 * 2 ** 20];
    progress.begin('u', 'web\u001b[2J', async () => bytes(readings.shift() ?? null));
    await vi.advanceTimersByTimeAsync(600);
    await vi.dynamicImportSettled();
    await vi.advanceTimersByTimeAsync(600);
    expect(progress.names).toEqual(['web\u001b[2J']);
    expect(text()).toContain('6 MiB given back');
    expect(text()).not.toContain('\u001b[2J');
    progress.end('u');
    expect(progress.names).toEqual([]);
    progress.stop();
  });

  it('a reading that fails is shown as unknown, and breaks nothing', async () => {
    const { stream, text } = terminal();
    const progress = new TrimProgress(stream);
    progress.begin('u', 'web', () => Promise.reject(new Error('libvirtd died')));
    await vi.advanceTimersByTimeAsync(600);
    await vi.dynamicImportSettled();
    await vi.advanceTimersByTimeAsync(1100);
    expect(text()).toContain('trimming web');
    expect(text()).not.toContain('given back');
    progress.stop();
  });

  it('draws nothing any more once it was stopped, however late a reading comes', async () => {
    const { stream, text } = terminal();
    const progress = new TrimProgress(stream);
    let answer: (measurements: Measurement[]) => void = () => {};
    progress.begin('u', 'web', () => new Promise((resolve) => (answer = resolve)));
    await vi.advanceTimersByTimeAsync(2000);
    progress.stop();
    const before = text();
    answer(bytes(1));
    await vi.advanceTimersByTimeAsync(2000);
    expect(text()).toBe(before);
  });

  it('without a terminal it only keeps the names', async () => {
    const progress = new TrimProgress(null);
    progress.begin('u', 'web', () => Promise.reject(new Error('never asked')));
    await vi.advanceTimersByTimeAsync(2000);
    expect(progress.names).toEqual(['web']);
  });
});
