/** QEMU's "modified UTF-8" (util/unicode.c): U+0000 is the two bytes C0 80; surrogates and noncharacters are refused. */

/** Smallest code point of a sequence of 2, 3, … bytes; shorter ones are overlong. */
const smallest = [0x80, 0x800, 0x10000, 0x200000, 0x4000000];

export function isValidCodePoint(point: number): boolean {
  if (point < 0 || point > 0x10ffff) return false;
  if (point >= 0xd800 && point <= 0xdfff) return false;
  if (point >= 0xfdd0 && point <= 0xfdef) return false;
  return (point & 0xfffe) !== 0xfffe;
}

/** The code point at `at` of a byte string, or -1; `length` is how many bytes it takes, also when it is wrong. */
export function decodeUtf8(bytes: string, at: number): { point: number; length: number } {
  const first = bytes.charCodeAt(at);
  if (first < 0x80) return { point: first, length: 1 };
  if (first >= 0xfe || first < 0xc0) return { point: -1, length: 1 };
  let wanted = 2;
  while (first & (0x80 >> wanted)) wanted++;
  let point = first & (0x7f >> wanted);
  for (let i = 1; i < wanted; i++) {
    const next = at + i < bytes.length ? bytes.charCodeAt(at + i) : 0;
    if ((next & 0xc0) !== 0x80) return { point: -1, length: i };
    // Multiplied, not shifted: six bytes hold 31 bits.
    point = point * 64 + (next & 0x3f);
  }
  const overlong = point < (smallest[wanted - 2] ?? 0) && !(point === 0 && wanted === 2);
  return { point: overlong || !isValidCodePoint(point) ? -1 : point, length: wanted };
}

/** A valid code point as bytes. */
export function encodeUtf8(point: number): string {
  if (point > 0 && point < 0x80) return String.fromCharCode(point);
  if (point < 0x800) return String.fromCharCode(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
  if (point < 0x10000) return String.fromCharCode(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
  return String.fromCharCode(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
}
