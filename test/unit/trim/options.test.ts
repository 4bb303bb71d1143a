import { describe, expect, it } from 'vitest';
import { readTrimOptions } from '../../../host/trim/options.ts';
import { trimResult, type TrimResult } from '../../../host/trim/schema.ts';
import { pathLines, totalLine, trimRows } from '../../../host/trim/rows.ts';
import { thinBytes } from '../../../host/trim/measure.ts';
import { emptyResult } from '../../../host/trim/trim-domain.ts';

describe('readTrimOptions', () => {
  it('has the documented defaults', () => {
    expect(readTrimOptions(['web'], {})).toEqual({
      all: false,
      exclude: [],
      minimumBytes: null,
      parallel: 8,
      perBackend: 2,
      timeoutSeconds: null,
      dryRun: false,
      force: false,
    });
  });

  it.each([
    ['1M', 2 ** 20],
    ['64KiB', 65_536],
    ['64KB', 64_000],
    ['0', 0],
    ['4096', 4096],
  ])('--minimum %s is %i bytes', (text, bytes) => {
    expect(readTrimOptions(['web'], { minimum: text }).minimumBytes).toBe(bytes);
  });

  it.each([
    [{ minimum: '5Q' }, /--minimum '5Q': expected a size/],
    [{ minimum: '' }, /--minimum/],
    [{ minimum: '-1' }, /--minimum/],
    [{ minimum: '9E999' }, /--minimum/],
    [{ parallel: '0' }, /--parallel '0': expected a whole number from 1 to 9999/],
    [{ parallel: '1e3' }, /--parallel/],
    [{ parallel: '99999' }, /--parallel/],
    [{ perBackend: '-2' }, /--per-backend/],
    [{ perBackend: '1.5' }, /--per-backend/],
    [{ timeout: 'soon' }, /--timeout 'soon': expected a duration/],
    [{ timeout: '0s' }, /--timeout/],
    [{ timeout: '8d' }, /--timeout/],
  ])('%j is refused, with the option, the value and what is expected', (raw, message) => {
    expect(() => readTrimOptions(['web'], raw)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringMatching(message) as unknown }) as Error,
    );
  });

  it('wants names or --all, and not both', () => {
    expect(() => readTrimOptions([], {})).toThrow(/--all/);
    expect(() => readTrimOptions(['web'], { all: true })).toThrow(/not both/);
    expect(readTrimOptions(['web*', 'tag:x', '!db'], { all: true }).all).toBe(true);
  });
});

describe('the table', () => {
  const result = (changes: Partial<TrimResult>): TrimResult => trimResult.parse({ ...emptyResult({ name: 'web', uuid: 'u' }), ...changes });
  const disk = (changes: object): TrimResult['disks'][number] => ({
    target: 'vda',
    source: '/i',
    format: 'qcow2',
    method: 'st_blocks',
    beforeBytes: 200 * 2 ** 20,
    afterBytes: 50 * 2 ** 20,
    reclaimedBytes: 150 * 2 ** 20,
    stable: true,
    reason: null,
    ...changes,
  });

  it('shows what came back, and what is not known as -', () => {
    const [first, second] = trimRows(
      result({
        disks: [disk({}), disk({ target: 'vdb', beforeBytes: null, afterBytes: null, reclaimedBytes: null, reason: 'cannot tell' })],
      }),
    );
    expect(first).toEqual(['web', 'ok', 'vda', '200 MiB', '50 MiB', '150 MiB (75 %)', '']);
    expect(second).toEqual(['', '', 'vdb', '-', '-', '-', 'cannot tell']);
  });

  it('has one row for a domain that was not trimmed', () => {
    expect(trimRows(result({ status: 'skipped', code: 'off', reason: 'it is off' }))).toEqual([
      ['web', 'skipped', '-', '-', '-', '-', 'it is off'],
    ]);
  });

  it('never shows a name’s control characters', () => {
    const hostile = result({ name: '\u001b[2Jx\u202e', paths: [{ path: '/', trimmedBytes: 1, error: null }] });
    expect(JSON.stringify([trimRows(hostile), pathLines(hostile)])).not.toMatch(/\\u001b|\u202e/);
  });

  it('adds up', () => {
    expect(totalLine([result({ disks: [disk({})] }), result({ status: 'failed', code: 'internal', reason: 'x' })])).toBe(
      '150 MiB given back to the host; 2 domains: 1 ok, 1 failed',
    );
    expect(totalLine([])).toMatch(/^0 B given back to the host; 0 domains/);
  });
});

describe('thin volumes', () => {
  it.each([
    ['  1073741824|12.50|thin', 134_217_728],
    ['1073741824|0.00|thin', 0],
    ['1073741824||linear', null],
    ['1073741824||thin', null],
    ['', null],
  ])('%j: %s', (line, bytes) => {
    expect(thinBytes(line)).toBe(bytes);
  });
});
