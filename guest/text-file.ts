import type { Sys } from './sys.ts';
import { openFlags } from './sys.ts';

/** Enough for the mount table of a container host; what is longer is cut. */
const maxFileBytes = 4 << 20;

/** A whole file, or undefined where it cannot be read. For /proc and /sys: their size is not known before. */
export function readText(sys: Sys, path: string): string | undefined {
  const fd = sys.open(path, openFlags.readOnly);
  if (fd < 0) return undefined;
  let text = '';
  let failed = false;
  while (text.length < maxFileBytes) {
    const part = sys.read(fd, 65_536);
    failed = typeof part === 'number';
    if (typeof part === 'number' || part === '') break;
    text += part;
  }
  sys.close(fd);
  return failed ? undefined : text;
}

/** The first line of a file without its newline. */
export function readLine(sys: Sys, path: string): string | undefined {
  const text = readText(sys, path);
  return text?.split('\n')[0];
}
