import { describe, expect, test } from 'vitest';
import { formatFloat } from '../../../guest/json/number.ts';
import { maxMessageBytes, maxMessageDepth, maxMessageTokens, MessageReader } from '../../../guest/json/reader.ts';
import { writeJson } from '../../../guest/json/write.ts';

/** What the reader makes of bytes that come in pieces of `size`: each message written out again, or its error. */
function read(bytes: string, size = bytes.length): string[] {
  const found: string[] = [];
  const reader = new MessageReader((message) => found.push('error' in message ? `! ${message.error}` : writeJson(message.value)));
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.slice(at, at + size);
    reader.feed(piece, /^[\n\x20-\x7e]*$/.test(piece));
  }
  return found;
}

const utf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

describe('what QEMU accepts', () => {
  // Seen on qemu-ga 7.2.22, which echoes an id through its own parser and writer.
  test.each([
    ['{}', '{}'],
    ['9223372036854775807', undefined],
    [
      '[9223372036854775807,-9223372036854775808,18446744073709551615]',
      '[9223372036854775807, -9223372036854775808, 18446744073709551615]',
    ],
    ['[99999999999999999999]', '[1e+20]'],
    ['[-0,-1,0]', '[0, -1, 0]'],
    [
      '[1.0,1.10,0.1,2.5,1e30,1E-7,123456789.123456789]',
      '[1, 1.1000000000000001, 0.10000000000000001, 2.5, 1e+30, 9.9999999999999995e-08, 123456789.12345679]',
    ],
    [`{'execute':'it\\'s'}`, `{"execute": "it's"}`],
    ['["\\u0000\\u00e9\\ud83d\\ude00/\\/\\b\\f\\n\\r\\t"]', '["\\u0000\\u00E9\\uD83D\\uDE00//\\b\\f\\n\\r\\t"]'],
    [utf8('["é€😀"]'), '["\\u00E9\\u20AC\\uD83D\\uDE00"]'],
    ['["\x7f"]', '["\\u007F"]'],
    ['[true,false,null]', '[true, false, null]'],
    [' {"a" :\t1 ,\r\n"b": [ ] } ', '{"a": 1, "b": []}'],
  ])('%s', (bytes, written) => {
    if (written === undefined) return expect(read(bytes)).toEqual([]); // a number ends only with what follows it
    expect(read(bytes)).toEqual([written]);
    for (const size of [1, 2, 3, 7]) expect(read(bytes, size)).toEqual([written]);
  });

  test('messages end with their last bracket, not with the line', () => {
    expect(read('{"a":1}{"b":2}\n[3]')).toEqual(['{"a": 1}', '{"b": 2}', '[3]']);
    expect(read('5 "x" true\n')).toEqual(['5', '"x"', 'true']);
  });
});

describe("what QEMU refuses, in QEMU's words", () => {
  const parse = (text: string): string => `! JSON parse error, ${text}`;
  test.each([
    ['{"a":1,"a":2}', [parse('duplicate key')]],
    ['{"a" 1}', [parse('missing : in object pair')]],
    ['{"a":1 "b"}', [parse('expected separator in dict')]],
    ['[1 2]', [parse('expected separator in list')]],
    ['{1:2}', [parse('key is not a string in object')]],
    ['{[]:2}', [parse('key is not a string in object')]],
    ['[,]', [parse('expecting value')]],
    ['{"a":}', [parse('expecting value')]],
    ['[1,]', [parse('expecting value')]],
    ['{"a":1,}', [parse('expecting value')]],
    ['}', [parse('expecting value')]],
    ['{"a":1]', [parse('expected separator in dict')]],
    ['[nope]', [parse(`invalid keyword 'nope'`)]],
    ['["\\x"]', [parse('invalid escape sequence in string')]],
    ['["\\ud800"]', [parse('\\ud800 is not a valid Unicode character')]],
    ['["\\ud83dx\\ude00"]', [parse('\\ud83d is not a valid Unicode character')]],
    ['["\\uffff"]', [parse('\\uffff is not a valid Unicode character')]],
    ['["\xed\xa0\x80"]', [parse('invalid UTF-8 sequence in string')]],
    ['["\xc0\xaf"]', [parse('invalid UTF-8 sequence in string')]],
    ['["\xc3"]', [parse('invalid UTF-8 sequence in string')]],
    ['\xff{}', [parse(`stray '\xff'`), '{}']],
    ['{"a":"\n{}', [parse(`stray '"\n'`), '{}']],
    ['{"a": X}', [parse(`stray 'X'`), parse('expecting value')]],
    ['[01]', [parse(`stray '01'`), parse('expecting value')]],
    ['[1.]', [parse(`stray '1.]'`)]],
    ['[-]', [parse(`stray '-]'`)]],
    ['[1e+]', [parse(`stray '1e+]'`)]],
  ])('%s', (bytes, messages) => {
    expect(read(bytes)).toEqual(messages);
    expect(read(bytes, 1)).toEqual(messages);
  });

  test('where qemu-ga echoes `inf`, which is not JSON', () => {
    expect(read('[1e400]')).toEqual([parse('number is out of range')]);
  });
});

describe('bounds', () => {
  test('a message that is too long is refused once, and the next line is read', () => {
    const long = `{"a":"${'x'.repeat(maxMessageBytes)}"}`;
    for (const size of [long.length + 20, 65_536]) {
      expect(read(`${long}\n{"b":1}`, size)).toEqual(['! JSON token size limit exceeded', '{"b": 1}']);
    }
  });

  test('too many tokens', () => {
    expect(read(`[${'1,'.repeat(maxMessageTokens)}1]\n{}`)).toEqual(['! JSON token count limit exceeded', '{}']);
  });

  test('too deep', () => {
    const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(read(deep(maxMessageDepth))).toHaveLength(1);
    expect(read(`${deep(maxMessageDepth + 1)}\n{}`)).toEqual(['! JSON nesting depth limit exceeded', '{}']);
  });

  test('what was written by halves is forgotten', () => {
    const found: unknown[] = [];
    const reader = new MessageReader((message) => found.push(message));
    reader.feed('{"execute":"guest-p');
    reader.reset();
    reader.feed('[1]');
    expect(found).toEqual([{ value: [1] }]);
  });
});

test("doubles as C's %.17g", () => {
  const cases: [number, string][] = [
    [0, '0'],
    [-0, '-0'],
    [1, '1'],
    [0.0001, '0.0001'],
    [0.00001, '1.0000000000000001e-05'],
    [123456789012345680, '1.2345678901234568e+17'],
    [12345678901234568, '12345678901234568'],
    [-2.3e-300, '-2.3e-300'],
    [5e-324, '4.9406564584124654e-324'],
  ];
  for (const [value, text] of cases) expect(formatFloat(value)).toBe(text);
});
