import type { Sys } from '../sys.ts';
import { readLine } from '../text-file.ts';
import { deviceNode } from '../disks/device-node.ts';
import { firstMounts } from './mount-table.ts';
import type { Mount } from './mount-table.ts';

/**
 * The filesystems to freeze, in the order to do it: each once, the youngest mount first, and before a filesystem everything that
 * is stored in it. A loop mount that is frozen after its backing filesystem can never write its journal out: qemu-ga 7.2 waits
 * for ever there when the backing filesystem shows up again later in the table as a bind mount.
 *
 * `paths`, if given, are the mount points that are wanted; unknown ones are passed over in silence, as qemu-ga does.
 */
export function chooseFreezeOrder(sys: Sys, mounts: readonly Mount[], paths?: readonly string[]): Mount[] {
  const wanted = paths === undefined ? mounts : mounts.filter((mount) => paths.includes(mount.path));
  const youngestFirst = firstMounts(wanted).toReversed();
  const storedIn = youngestFirst.map((mount) => ({ mount, filesystems: findBackingFilesystems(sys, mount.device, mounts) }));
  const order: Mount[] = [];
  const visiting = new Set<string>();
  const place = (mount: Mount): void => {
    if (order.includes(mount) || visiting.has(mount.filesystem)) return;
    visiting.add(mount.filesystem);
    for (const other of storedIn) if (other.mount !== mount && other.filesystems.includes(mount.filesystem)) place(other.mount);
    visiting.delete(mount.filesystem);
    order.push(mount);
  };
  for (const mount of youngestFirst) place(mount);
  return order;
}

/** How deep device-mapper tables are followed. The kernel has no bound of its own; a longer chain is not a guest's disk. */
const maxDepth = 16;

/** The filesystems in which a block device is stored: of each loop device below it, the one that holds its file. */
function findBackingFilesystems(sys: Sys, device: string, mounts: readonly Mount[], depth = 0): string[] {
  if (depth > maxDepth) return [];
  const found: string[] = [];
  const directory = `/sys/dev/block/${device}`;
  const loop = readLoop(sys, directory, mounts) ?? readLoop(sys, `${directory}/..`, mounts);
  if (loop !== undefined) found.push(loop);
  const slaves = sys.readDirectory(`${directory}/slaves`);
  if (typeof slaves === 'number') return found;
  for (const entry of slaves) {
    const number = readLine(sys, `${directory}/slaves/${entry.slice(1)}/dev`);
    if (number !== undefined) found.push(...findBackingFilesystems(sys, number, mounts, depth + 1));
  }
  return found;
}

function readLoop(sys: Sys, directory: string, mounts: readonly Mount[]): string | undefined {
  const file = readLine(sys, `${directory}/loop/backing_file`);
  if (file === undefined) return undefined;
  const node = deviceNode(sys, directory);
  // The driver knows which filesystem it is even where the path is deleted, over-mounted or of another namespace.
  const told = node === undefined ? -1 : sys.loopBacking(node);
  if (typeof told === 'string' && mounts.some((mount) => mount.filesystem === told)) return told;
  const status = sys.stat(file);
  if (typeof status !== 'number' && mounts.some((mount) => mount.filesystem === status.device)) return status.device;
  return mountHolding(mounts, file)?.filesystem;
}

/** By path, for btrfs, whose files have device numbers that no mount has. */
function mountHolding(mounts: readonly Mount[], file: string): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    const prefix = mount.path.endsWith('/') ? mount.path : `${mount.path}/`;
    if (file.startsWith(prefix) && mount.path.length >= (best?.path.length ?? 0)) best = mount;
  }
  return best;
}
