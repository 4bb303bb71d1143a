import { errorWords } from '../errno.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import { readText } from '../text-file.ts';

/** One line of `/proc/self/mountinfo` whose filesystem lies on a block device of this guest. */
export interface Mount {
  readonly path: string;
  readonly type: string;
  readonly source: string;
  /** `major:minor` of the block device: for btrfs the one that its source names. */
  readonly device: string;
  /** `st_dev` of its root as mountinfo has it. One filesystem has one, however often it is mounted (btrfs: all subvolumes). */
  readonly filesystem: string;
}

const mountTable = '/proc/self/mountinfo';

/**
 * The mounts that qemu-ga also sees, in the table's order: device major 0 (tmpfs, overlay, network, FUSE, ZFS) is left out,
 * but btrfs, which has that major too, is kept where its source is a block device.
 * @throws QgaError in qemu-ga's words
 */
export function readMounts(sys: Sys): Mount[] {
  const text = readText(sys, mountTable);
  if (text === undefined) throw new QgaError(`failed to open mtab file: '/proc/self/mounts'`);
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const mount = parseLine(sys, line);
    if (mount !== undefined) mounts.push(mount);
  }
  return mounts;
}

/** proc(5): id parent major:minor root mountpoint options [optional fields] - type source superblock-options */
function parseLine(sys: Sys, line: string): Mount | undefined {
  const separator = line.indexOf(' - ');
  if (separator < 0) return undefined;
  const [, , filesystem = '', , path] = line.slice(0, separator).split(' ');
  const [type = '', source] = line.slice(separator + 3).split(' ');
  if (path === undefined || source === undefined) return undefined;
  const mount = { path: decodeOctal(path), type, source: decodeOctal(source), filesystem };
  if (!filesystem.startsWith('0:')) return { ...mount, device: filesystem };
  if (type !== 'btrfs') return undefined;
  const status = sys.stat(mount.source);
  if (typeof status === 'number' || !isBlockDevice(status.mode)) return undefined;
  return { ...mount, device: status.special };
}

export function isBlockDevice(mode: number): boolean {
  return (mode & 0o170000) === 0o060000;
}

/** The kernel writes blank, tab, newline and backslash in names as `\` and three octal digits. */
export function decodeOctal(text: string): string {
  if (!text.includes('\\')) return text;
  let decoded = '';
  for (let at = 0; at < text.length; at++) {
    const code = text.charAt(at) === '\\' ? Number(`0o${text.slice(at + 1, at + 4)}`) : Number.NaN;
    if (code >= 0 && code < 256) {
      decoded += String.fromCharCode(code);
      at += 3;
    } else {
      decoded += text.charAt(at);
    }
  }
  return decoded;
}

/** One mount for each filesystem, the one that stands first in the table. */
export function firstMounts(mounts: readonly Mount[]): Mount[] {
  const seen = new Set<string>();
  return mounts.filter((mount) => {
    if (seen.has(mount.filesystem)) return false;
    seen.add(mount.filesystem);
    return true;
  });
}

/**
 * Opens a filesystem's root through one of its mounts. A path under which something else is mounted by now leads to that, so the
 * descriptor is compared with what the table says (btrfs excepted: each of its subvolumes has a device number of its own).
 * Returns undefined where no mount of it can be reached. @throws QgaError when the first one cannot be opened
 */
export function openFilesystem(sys: Sys, wanted: Mount, mounts: readonly Mount[]): number | undefined {
  for (const mount of [wanted, ...mounts.filter((other) => other !== wanted && other.filesystem === wanted.filesystem)]) {
    const fd = sys.open(mount.path, 0);
    if (fd < 0) {
      if (mount === wanted) throw new QgaError(`failed to open ${mount.path}: ${errorWords(fd)}`);
      continue;
    }
    const status = sys.statFd(fd);
    if (mount.type === 'btrfs' || (typeof status !== 'number' && status.device === mount.filesystem)) return fd;
    sys.close(fd);
  }
  return undefined;
}
