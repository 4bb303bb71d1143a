import type { Json } from './value.ts';
import { JsonFloat, JsonInteger } from './value.ts';
import { TokenError } from './string.ts';

const int64Max = '9223372036854775807';
const int64Min = '9223372036854775808';
const uint64Max = '18446744073709551615';

/** An integer token: exact up to 64 bits, a float beyond, as QEMU's QNum does. @throws TokenError past the range of a double */
export function decodeInteger(token: string): Json {
  const number = Number(token);
  if (number >= -9007199254740991 && number <= 9007199254740991) return number === 0 ? 0 : number; // -0 is the integer 0
  const negative = token.startsWith('-');
  return isAtMost(negative ? token.slice(1) : token, negative ? int64Min : uint64Max) ? new JsonInteger(token) : decodeFloat(token);
}

/** Whether it is an int64; a JsonInteger may be a uint64. */
export function fitsInt64({ digits }: JsonInteger): boolean {
  return digits.startsWith('-') || isAtMost(digits, int64Max);
}

/** Compares decimal numbers without leading zeros. */
function isAtMost(digits: string, bound: string): boolean {
  return digits.length === bound.length ? digits <= bound : digits.length < bound.length;
}

/** @throws TokenError past the range of a double: qemu-ga echoes `inf`, which is not JSON */
export function decodeFloat(token: string): JsonFloat {
  const value = Number(token);
  if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308) throw new TokenError('number is out of range');
  return new JsonFloat(value);
}

/** A double as C's `%.17g` has it, which is what qemu-ga sends. */
export function formatFloat(value: number): string {
  if (value === 0) return 1 / value < 0 ? '-0' : '0';
  const [digits = '', exponentText = '0'] = Math.abs(value).toExponential(16).split('e');
  const exponent = Number(exponentText);
  const sign = value < 0 ? '-' : '';
  const all = digits.charAt(0) + digits.slice(2);
  if (exponent < -4 || exponent >= 17) {
    const size = Math.abs(exponent);
    const fraction = trimZeros(all.slice(1));
    return `${sign}${all.charAt(0)}${fraction === '' ? '' : '.'}${fraction}e${exponent < 0 ? '-' : '+'}${size < 10 ? '0' : ''}${size}`;
  }
  const padded = exponent < 0 ? '0'.repeat(-exponent) + all : all;
  const point = exponent < 0 ? 1 : exponent + 1;
  const fraction = trimZeros(padded.slice(point));
  return `${sign}${padded.slice(0, point)}${fraction === '' ? '' : '.'}${fraction}`;
}

function trimZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end--;
  return digits.slice(0, end);
}
