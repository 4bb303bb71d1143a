import * as z from 'zod/mini';
import { describe, expect, it } from 'vitest';
import { nestingDepth, parseAnswer } from '../../../host/agent/parse-answer.ts';
import { fsInfo, freezeStatus, frozenCount, guestInfo, osInfo, trimAnswer } from '../../../host/agent/schema.ts';
import type { AppError } from '../../../shared/errors.ts';

const anything = z.any();
const refusal = (text: string, schema: z.ZodMiniType = anything): AppError => {
  try {
    parseAnswer('guest-x', text, schema);
  } catch (error) {
    return error as AppError;
  }
  throw new Error(`accepted: ${text.slice(0, 80)}`);
};

describe('integers are int64 exactly', () => {
  it.each([
    ['9223372036854775807', 9223372036854775807n],
    ['-9223372036854775808', -9223372036854775808n],
    ['9007199254740993', 9007199254740993n],
    ['1795344712345678901', 1795344712345678901n],
    ['9007199254740991', 9007199254740991],
    ['-9007199254740991', -9007199254740991],
    ['0', 0],
  ])('%s', (token, expected) => {
    expect(parseAnswer('guest-get-time', `{"return": ${token}}`, anything)).toBe(expected);
  });

  it('a fraction and an exponent are numbers, and no count', () => {
    expect(parseAnswer('guest-x', '{"return": 1.5}', anything)).toBe(1.5);
    for (const token of ['1.5', '1e400', '-1e400', '1e30'])
      expect(refusal(`{"return": ${token}}`, frozenCount).code).toBe('agent-protocol');
  });
});

describe('nestingDepth', () => {
  it.each([
    ['{}', 1],
    ['{"a":[[]]}', 3],
    ['"[[[["', 0],
    ['{"a":"\\"[[["}', 1],
    ['{"a":"\\\\"}[', 1],
    ['[[', 2],
    [']]]]', 0],
    ['', 0],
  ])('%s: %i', (text, depth) => {
    expect(nestingDepth(text)).toBe(depth);
  });

  it('is counted before a parser sees a hostile depth', () => {
    const depth = 1_000_000;
    const error = refusal(`{"return": ${'['.repeat(depth)}${']'.repeat(depth)}}`);
    expect(error).toMatchObject({ code: 'agent-protocol', message: expect.stringMatching(/nested deeper than 32/) as unknown });
  });

  it('32 are allowed, 33 are not', () => {
    const nested = (depth: number): string => `{"return": ${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
    expect(parseAnswer('guest-x', nested(32), anything)).toBeDefined();
    expect(refusal(nested(33)).code).toBe('agent-protocol');
  });
});

describe('what is no answer', () => {
  it.each([
    ['nothing', ''],
    ['garbage', '\u001b[2J}{'],
    ['an array', '[1,2,3]'],
    ['a number', '7'],
    ['null', 'null'],
    ['no return', '{"neither": 1}'],
    ['an error reply', '{"error":{"class":"GenericError","desc":"x"}}'],
    ['two values', '{"return":1}{"return":2}'],
    ['cut off', '{"return": {"paths": ['],
    ['duplicate keys', '{"return":1,"return":2}'],
    ['NaN', '{"return": NaN}'],
    ['too long', `{"return": "${'x'.repeat(4 * 1024 * 1024)}"}`],
  ])('%s', (_what, text) => {
    const error = refusal(text);
    expect(error.code).toBe('agent-protocol');
    expect(error.message).toMatch(/^the guest agent's answer to guest-x is not valid: /);
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
  });

  it('does not repeat the bytes of the guest', () => {
    expect(refusal('{"return": {"paths": "SECRET\u001b[31m"}}', trimAnswer).message).not.toContain('SECRET');
    expect(refusal('{"return": "frozen-SECRET"}', freezeStatus).message).not.toContain('SECRET');
    expect(refusal('{"return": {"SECRET\u001b": 1}}', guestInfo).message).not.toContain('SECRET');
  });

  it('takes no member for the prototype', () => {
    const value = parseAnswer('guest-x', '{"return": {"__proto__": {"polluted": true}, "constructor": 1}}', trimAnswer);
    expect(value).toEqual({});
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('guest-fstrim', () => {
  const read = (value: unknown): unknown => parseAnswer('guest-fstrim', JSON.stringify({ return: value }), trimAnswer);

  it('reads counts, errors, Windows without counts, and the empty answer of qemu-ga before 2.4', () => {
    expect(read({ paths: [{ path: '/', trimmed: 4096, minimum: 0 }] })).toEqual({ paths: [{ path: '/', trimmed: 4096 }] });
    expect(read({ paths: [{ path: '/x', error: 'trim not supported' }] })).toEqual({
      paths: [{ path: '/x', error: 'trim not supported' }],
    });
    expect(read({ paths: [{ path: 'C:\\' }] })).toEqual({ paths: [{ path: 'C:\\' }] });
    expect(read({})).toEqual({});
  });

  it('cleans and bounds every text', () => {
    const answer = read({ paths: [{ path: `/\u001b[2J\u202e${'y'.repeat(5000)}`, error: 'a\nb\u0007' }] }) as {
      paths: { path: string; error: string }[];
    };
    expect(answer.paths[0]?.path).not.toMatch(/[\u001b\u202e]/);
    expect(answer.paths[0]?.path.length).toBeLessThanOrEqual(300);
    expect(answer.paths[0]?.error).toBe('a b\ufffd');
  });

  it.each([
    ['a negative count', '{"paths":[{"path":"/","trimmed":-1}]}'],
    ['a fraction', '{"paths":[{"path":"/","trimmed":1.5}]}'],
    ['text as a count', '{"paths":[{"path":"/","trimmed":"4096"}]}'],
    ['more than a double holds exactly: no guest has 8 EiB', '{"paths":[{"path":"/","trimmed":9223372036854775807}]}'],
    ['a number without end', `{"paths":[{"path":"/","trimmed":${'9'.repeat(400)}}]}`],
    ['no path', '{"paths":[{"trimmed":1}]}'],
    ['paths that are no list', '{"paths":{"0":{"path":"/"}}}'],
    ['10,000 paths', `{"paths":[${Array.from({ length: 10_000 }, () => '{"path":"/"}').join(',')}]}`],
    ['a text of 100 KiB', `{"paths":[{"path":"${'z'.repeat(100 * 1024)}"}]}`],
  ])('refuses %s', (_what, value) => {
    expect(refusal(`{"return": ${value}}`, trimAnswer).code).toBe('agent-protocol');
  });

  it('does not fall over the unused minimum, whatever it is', () => {
    expect(read({ paths: [{ path: '/', trimmed: 1, minimum: 'x' }] })).toEqual({ paths: [{ path: '/', trimmed: 1 }] });
  });
});

describe('the other answers', () => {
  it('guest-info: unknown members are dropped, names bounded', () => {
    const value = parseAnswer(
      'guest-info',
      JSON.stringify({
        return: { version: '7.2.22', extra: 1, supported_commands: [{ name: 'guest-ping', enabled: true, 'success-response': true }] },
      }),
      guestInfo,
    );
    expect(value).toEqual({ version: '7.2.22', supported_commands: [{ name: 'guest-ping', enabled: true }] });
  });

  it('guest-get-osinfo: a prettier name than a terminal should show', () => {
    const value = parseAnswer('guest-get-osinfo', JSON.stringify({ return: { id: 'x', 'pretty-name': '\u001b]0;owned\u0007' } }), osInfo);
    expect(value['pretty-name']).not.toMatch(/[\u001b\u0007]/);
  });

  it('guest-get-fsinfo: unknown PCI addresses (-1) are accepted', () => {
    const disk = { 'bus-type': 'virtio', bus: 0, target: 0, unit: 0, 'pci-controller': { domain: -1, bus: -1, slot: -1, function: -1 } };
    const value = parseAnswer(
      'guest-get-fsinfo',
      JSON.stringify({ return: [{ name: 'vda', mountpoint: '/', type: 'ext4', disk: [disk] }] }),
      fsInfo,
    );
    expect(value[0]?.disk[0]?.['pci-controller'].slot).toBe(-1);
  });

  it.each(['"thawing"', '1', 'null', '{}'])('guest-fsfreeze-status is thawed or frozen, not %s', (value) => {
    expect(refusal(`{"return": ${value}}`, freezeStatus).code).toBe('agent-protocol');
  });
});
