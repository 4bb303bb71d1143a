import { formatFloat } from './number.ts';
import { decodeUtf8 } from './utf8.ts';
import type { Json } from './value.ts';
import { JsonFloat, JsonInteger } from './value.ts';

const escapes: Readonly<Record<number, string>> = {
  0x22: '\\"',
  0x5c: '\\\\',
  0x08: '\\b',
  0x0c: '\\f',
  0x0a: '\\n',
  0x0d: '\\r',
  0x09: '\\t',
};

/** Bytes that stand for themselves in a string. One look into a table for each byte: this loop is most of what a long answer costs. */
const standsForItself: readonly boolean[] = Array.from({ length: 256 }, (_, c) => c >= 0x20 && c < 0x7f && c !== 0x22 && c !== 0x5c);

/** One line of plain ASCII, spaced as qemu-ga spaces it. Bytes that are no UTF-8 become U+FFFD. */
export function writeJson(value: Json): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
    case 'boolean':
      return String(value);
    default:
      return value === null ? 'null' : writeObject(value);
  }
}

function writeObject(value: Exclude<Json, null | boolean | string | number>): string {
  if (value instanceof JsonInteger) return value.digits;
  if (value instanceof JsonFloat) return formatFloat(value.value);
  if (Array.isArray(value)) {
    let text = '';
    for (const item of value as readonly Json[]) text += (text === '' ? '' : ', ') + writeJson(item);
    return `[${text}]`;
  }
  let text = '';
  if (value instanceof Map) {
    for (const [key, member] of value as ReadonlyMap<string, Json>) text += `${text === '' ? '' : ', '}${quote(key)}: ${writeJson(member)}`;
  } else {
    for (const [key, member] of Object.entries(value)) {
      if (member !== undefined) text += `${text === '' ? '' : ', '}"${key}": ${writeJson(member as Json)}`;
    }
  }
  return `{${text}}`;
}

function quote(bytes: string): string {
  const end = bytes.length;
  let text = '"';
  let start = 0;
  let at = 0;
  while (at < end) {
    while (standsForItself[bytes.charCodeAt(at)] === true) at++;
    if (at >= end) break;
    text += bytes.slice(start, at);
    const short = escapes[bytes.charCodeAt(at)];
    if (short === undefined) {
      const { point, length } = decodeUtf8(bytes, at);
      text += escapeCodePoint(point < 0 ? 0xfffd : point);
      at += length;
    } else {
      text += short;
      at++;
    }
    start = at;
  }
  return `${text}${bytes.slice(start)}"`;
}

function escapeCodePoint(point: number): string {
  if (point <= 0xffff) return escapeUnit(point);
  return escapeUnit(0xd800 + ((point - 0x10000) >> 10)) + escapeUnit(0xdc00 + ((point - 0x10000) & 0x3ff));
}

function escapeUnit(unit: number): string {
  return `\\u${(0x10000 + unit).toString(16).slice(1).toUpperCase()}`;
}
