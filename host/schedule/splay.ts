import { createHash } from 'node:crypto';

const space = 2 ** 48;

/**
 * A domain's own place in a window, from its UUID alone: it keeps its minute on every host and after every restart, and a thousand
 * domains spread evenly. Whole seconds, from 0 to below the window's length; milliseconds.
 */
export function splayOf(uuid: string, windowMs: number): number {
  const fraction = createHash('sha256').update(uuid.toLowerCase()).digest().readUIntBE(0, 6) / space;
  return Math.floor((fraction * windowMs) / 1000) * 1000;
}
