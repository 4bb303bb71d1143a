import type { GuestDisk } from '../../shared/qga/types.ts';
import type { Command } from '../command.ts';
import { describeBlockDevice, isVirtual } from '../disks/block-device.ts';
import { readUdevProperty } from '../disks/udev.ts';
import { errorWords } from '../errno.ts';
import { deviceNode } from '../disks/device-node.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import { readLine } from '../text-file.ts';

/** Disks that are not empty, each followed to the front by its partitions: qemu-ga prepends whatever it finds. */
export const guestGetDisks: Command = {
  name: 'guest-get-disks',
  run: (context): GuestDisk[] => {
    const { sys } = context;
    const entries = sys.readDirectory('/sys/block');
    if (typeof entries === 'number') throw new QgaError(`Can't open directory "/sys/block": ${errorWords(entries)}`);
    const disks: GuestDisk[] = [];
    for (const entry of entries) {
      const directory = `/sys/block/${entry.slice(1)}`;
      const size = entry.startsWith('l') ? readLine(sys, `${directory}/size`) : undefined;
      const name = size === undefined || size === '0' ? undefined : deviceNode(sys, directory);
      if (name === undefined) continue;
      disks.unshift(describeDisk(sys, directory, name));
      for (const partition of listPartitions(sys, directory, entry.slice(1))) {
        disks.unshift({ name: partition, partition: true, dependencies: [name] });
      }
    }
    return disks;
  },
};

function describeDisk(sys: Sys, directory: string, name: string): GuestDisk {
  const alias = readUdevProperty(sys, directory, 'DM_NAME');
  const sysPath = sys.realPath(directory);
  const address = typeof sysPath === 'string' && !isVirtual(sysPath) ? describeBlockDevice(sys, directory).disks[0] : undefined;
  const slaves = sys.readDirectory(`${directory}/slaves`);
  return {
    name,
    partition: false,
    ...(typeof slaves === 'number' ? {} : { dependencies: listNodes(sys, slaves, directory) }),
    ...(address === undefined ? {} : { address }),
    ...(alias === undefined ? {} : { alias }),
  };
}

function listNodes(sys: Sys, slaves: readonly string[], directory: string): string[] {
  const nodes: string[] = [];
  for (const slave of slaves) {
    const node = deviceNode(sys, `${directory}/slaves/${slave.slice(1)}`);
    if (node !== undefined) nodes.unshift(node);
  }
  return nodes;
}

/** `vda1`, `nvme0n1p2`: the disk's name, perhaps a `p`, and a digit. */
function listPartitions(sys: Sys, directory: string, disk: string): string[] {
  const entries = sys.readDirectory(directory);
  const nodes: string[] = [];
  for (const entry of typeof entries === 'number' ? [] : entries) {
    const name = entry.slice(1);
    const rest = name.slice(disk.length);
    const number = rest.startsWith('p') ? rest.charAt(1) : rest.charAt(0);
    if (!entry.startsWith('d') || !name.startsWith(disk) || !(number >= '0' && number <= '9')) continue;
    const node = deviceNode(sys, `${directory}/${name}`);
    if (node !== undefined) nodes.push(node);
  }
  return nodes;
}
