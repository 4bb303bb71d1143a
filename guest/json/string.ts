import { decodeUtf8, encodeUtf8, isValidCodePoint } from './utf8.ts';

/** What is wrong with a token, in QEMU's words (after `JSON parse error, `). */
export class TokenError extends Error {}

const plainEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** The content of a string token, quotes included in `token`. @throws TokenError */
export function decodeString(token: string): string {
  const end = token.length - 1;
  let start = 1;
  let at = 1;
  let text = '';
  while (at < end) {
    const c = token.charCodeAt(at);
    if (c === 0x5c) {
      text += token.slice(start, at);
      const escape = readEscape(token, at);
      text += escape.text;
      at += escape.length;
      start = at;
    } else if (c < 0x80) {
      at++;
    } else {
      const { point, length } = decodeUtf8(token, at);
      if (point < 0) throw new TokenError('invalid UTF-8 sequence in string');
      at += length;
    }
  }
  return text + token.slice(start, end);
}

function readEscape(token: string, at: number): { text: string; length: number } {
  const letter = token.charAt(at + 1);
  if (letter !== 'u') {
    const text = plainEscapes[letter];
    if (text === undefined) throw new TokenError('invalid escape sequence in string');
    return { text, length: 2 };
  }
  let point = readHex4(token, at + 2);
  let length = 6;
  if (point >= 0xd800 && point <= 0xdbff && token.slice(at + 6, at + 8) === '\\u') {
    const low = readHex4(token, at + 8);
    if (low >= 0xdc00 && low <= 0xdfff) {
      point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
      length = 12;
    } else {
      point = -1;
    }
  }
  if (!isValidCodePoint(point)) throw new TokenError(`${token.slice(at, at + 6)} is not a valid Unicode character`);
  return { text: encodeUtf8(point), length };
}

function readHex4(token: string, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const digit = hexDigit(token.charCodeAt(i));
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  if (c >= 0x41 && c <= 0x46) return c - 0x41 + 10;
  if (c >= 0x61 && c <= 0x66) return c - 0x61 + 10;
  return -1;
}
