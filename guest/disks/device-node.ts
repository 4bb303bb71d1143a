import type { Sys } from '../sys.ts';
import { readText } from '../text-file.ts';

/** `DEVNAME` of sysfs' uevent file, as libudev takes it. */
export function deviceNode(sys: Sys, directory: string): string | undefined {
  const line = readText(sys, `${directory}/uevent`)
    ?.split('\n')
    .find((entry) => entry.startsWith('DEVNAME='));
  return line === undefined ? undefined : `/dev/${line.slice('DEVNAME='.length)}`;
}
