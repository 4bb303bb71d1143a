import type { Sys } from '../sys.ts';
import { readLine, readText } from '../text-file.ts';

/** A property of a block device from udev's database (`/run/udev/data/b8:0`, lines `E:KEY=value`): what libudev reads too. */
export function readUdevProperty(sys: Sys, sysPath: string, key: string): string | undefined {
  const number = readLine(sys, `${sysPath}/dev`);
  if (number === undefined) return undefined;
  const prefix = `E:${key}=`;
  const line = readText(sys, `/run/udev/data/b${number}`)
    ?.split('\n')
    .find((entry) => entry.startsWith(prefix));
  const value = line?.slice(prefix.length);
  return value === '' ? undefined : value;
}
