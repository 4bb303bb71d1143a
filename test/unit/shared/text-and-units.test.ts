import { describe, expect, it } from 'vitest';
import { cleanText } from '../../../shared/clean-text.ts';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { formatBytes, formatDuration, parseDuration, parseSize } from '../../../shared/units.ts';

describe('parseSize (fstrim(8))', () => {
  it.each([
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['1K', 1024],
    ['1KiB', 1024],
    ['1kib', 1024],
    ['1KB', 1000],
    ['1.5M', 1_572_864],
    ['64 MiB', 67_108_864],
    ['8P', 9_007_199_254_740_992],
  ])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes > Number.MAX_SAFE_INTEGER ? null : bytes);
  });

  it.each(['', ' ', 'M', '5Q', '-1', '+1', '1e6', '0x10', '1.0000001K', '99E', '1 2', '1KiBs', '٣', '1M;reboot'])('%j is none', (text) => {
    expect(parseSize(text)).toBeNull();
  });
});

describe('formatBytes', () => {
  it.each([
    [null, '-'],
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1_047_552, '1023 KiB'],
    [1_048_064, '1 MiB'],
    [1_048_570, '1 MiB'],
    [-3_145_728, '-3 MiB'],
    [1_717_986_918, '1.6 GiB'],
    [42_956_488_704, '40 GiB'],
    [Number.MAX_SAFE_INTEGER, '8 PiB'],
  ])('%s is %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('never shows more than four digits, nor a unit too small', () => {
    for (let bytes = 1; bytes < 2 ** 52; bytes = Math.ceil(bytes * 1.37))
      expect(formatBytes(bytes)).toMatch(/^\d{1,4}(\.\d{1,2})? ([KMGTP]i)?B$/);
  });
});

describe('durations', () => {
  it.each([
    ['90', 90_000],
    ['500ms', 500],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['5min', 300_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    [' 10s ', 10_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', 's', '5 m', '-5s', '1w', '5mm', '1h-30m', 'Infinity', `${'9'.repeat(400)}s`])('%j is none', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  it.each([
    [0, '0 s'],
    [250, '0.25 s'],
    [12_000, '12 s'],
    [119_499, '119 s'],
    [120_000, '2 min'],
    [200_000, '3 min 20 s'],
    [7_200_000, '2 h'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
  ])('%i ms is shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('cleanText', () => {
  it.each([
    ['plain ünïcödé 💾', 'plain ünïcödé 💾'],
    ['a\nb\tc', 'a b c'],
    ['\u001b[2J', '\ufffd[2J'],
    ['\u009b31m', '\ufffd31m'],
    ['a\u202eb\u2066c\u200fd', 'a\ufffdb\ufffdc\ufffdd'],
    ['\u2028\u2029', '\ufffd\ufffd'],
    ['x\ud800y', 'x\ufffdy'],
    ['\udc00', '\ufffd'],
    ['\udc00\udc00', '\ufffd\ufffd'],
    ['\r\u0000\u007f', '\ufffd\ufffd\ufffd'],
  ])('%j becomes %j', (text, expected) => {
    expect(cleanText(text)).toBe(expected);
  });

  it('is bounded, and says that it was cut', () => {
    expect(cleanText('x'.repeat(1000))).toHaveLength(200);
    expect(cleanText('x'.repeat(1000), 10)).toBe(`${'x'.repeat(9)}…`);
  });

  it('never ends in half a character', () => {
    const cut = cleanText('💾'.repeat(100), 10);
    expect(cut).not.toMatch(/[\ud800-\udbff](?![\udc00-\udfff])/);
  });

  it('leaves nothing that a terminal would obey, whatever goes in', () => {
    const everything = Array.from({ length: 0x10000 }, (_, code) => String.fromCharCode(code)).join('');
    const cleaned = cleanText(everything, everything.length + 1);
    expect(cleaned).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
    expect(encodeURIComponent(cleaned)).not.toBe(''); // throws for half a character
  });
});

describe('AppError', () => {
  it('keeps code, cause and context', () => {
    const cause = new Error('below');
    const error = new AppError('io', 'above', { cause, context: { file: '/x' } });
    expect(error).toMatchObject({ name: 'AppError', code: 'io', cause, context: { file: '/x' } });
    expect(toAppError(error)).toBe(error);
    expect(toAppError(cause)).toMatchObject({ code: 'internal', message: 'below', cause });
    expect(toAppError('text')).toMatchObject({ code: 'internal', message: 'text' });
  });
});
