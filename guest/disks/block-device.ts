import type { GuestDiskAddress } from '../../shared/qga/types.ts';
import { ENOENT, errorWords } from '../errno.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import { readDiskAddress } from './disk-address.ts';

export interface BlockDevice {
  /** The kernel's name, or `8:1` where /sys does not show it. */
  readonly name: string;
  /** Real disks below it, the one found last first, as qemu-ga lists them. */
  readonly disks: GuestDiskAddress[];
}

/** Virtual devices stand on others, and they on others: not deeper than this. */
const maxDepth = 16;

/** @throws QgaError in qemu-ga's words */
export function describeBlockDevice(sys: Sys, path: string, depth = 0): BlockDevice {
  const sysPath = sys.realPath(path);
  if (typeof sysPath === 'number') {
    if (sysPath !== -ENOENT) throw new QgaError(`realpath("${path}"): ${errorWords(sysPath)}`);
    // A container may not show the device.
    return { name: path.slice(path.lastIndexOf('/') + 1), disks: [] };
  }
  const name = sysPath.slice(sysPath.lastIndexOf('/') + 1);
  if (!isVirtual(sysPath)) {
    const address = readDiskAddress(sys, sysPath);
    return { name, disks: address === undefined ? [] : [address] };
  }
  const slaves = sys.readDirectory(`${sysPath}/slaves`);
  if (typeof slaves === 'number') {
    if (slaves !== -ENOENT) throw new QgaError(`opendir("${sysPath}/slaves"): ${errorWords(slaves)}`);
    return { name, disks: [] };
  }
  const disks: GuestDiskAddress[] = [];
  for (const slave of slaves) {
    if (slave.startsWith('l') && depth < maxDepth)
      disks.unshift(...describeBlockDevice(sys, `${sysPath}/slaves/${slave.slice(1)}`, depth + 1).disks);
  }
  return { name, disks };
}

export function isVirtual(sysPath: string): boolean {
  return sysPath.includes('/devices/virtual/block/');
}
