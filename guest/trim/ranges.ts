import type { Mount } from '../mounts/mount-table.ts';
import type { Sys } from '../sys.ts';
import { readLine } from '../text-file.ts';

/** Bytes of one piece: seconds of work on a slow disk, and a multiple of every allocation group these filesystems have. */
const pieceBytes = 8 * 2 ** 30;

/** Their trim walks blocks in order, so that pieces cost nothing. XFS and btrfs would search the whole free-space index for each. */
const cutTypes = ['ext2', 'ext3', 'ext4', 'vfat', 'f2fs', 'exfat'];

export interface Range {
  readonly start: number;
  /** Left out: to the end. */
  readonly length?: number;
}

/** The pieces in which a filesystem is trimmed. The last one is open, because a filesystem's end is not exactly known from here. */
export function planRanges(sys: Sys, mount: Mount): Range[] {
  const sectors = cutTypes.includes(mount.type) ? readLine(sys, `/sys/dev/block/${mount.device}/size`) : undefined;
  const bytes = (Number(sectors ?? 0) || 0) * 512;
  const ranges: Range[] = [];
  let start = 0;
  for (; start + pieceBytes < bytes; start += pieceBytes) ranges.push({ start, length: pieceBytes });
  ranges.push({ start });
  return ranges;
}
