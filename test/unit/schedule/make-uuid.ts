import { createHash } from 'node:crypto';

/** The n-th of a fixed sequence of UUIDs that look like random ones. */
export function makeUuid(index: number): string {
  const hex = createHash('md5').update(`domain ${index}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20)].join('-');
}
