import type { FsInfo } from '../agent/schema.ts';

/** Filesystems that the kernel cannot freeze (no freeze_fs, no sync_fs barrier), so that FIFREEZE answers EOPNOTSUPP. */
const unfreezable: Readonly<Record<string, string>> = {
  vfat: 'vfat cannot be frozen',
  msdos: 'msdos cannot be frozen',
  exfat: 'exfat cannot be frozen',
  iso9660: 'read-only medium',
  udf: 'udf cannot be frozen',
  squashfs: 'read-only image',
  erofs: 'read-only image',
};

export interface Freezable {
  /** Distinct filesystems that a freeze should count. */
  readonly expectedCount: number;
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

/** What a freeze of everything should reach, from `guest-get-fsinfo`. A filesystem that is mounted twice counts once. */
export function freezableOf(filesystems: FsInfo, isWindows: boolean): Freezable {
  const devices = new Set<string>();
  const skipped = new Map<string, { path: string; reason: string }>();
  for (const each of filesystems) {
    const reason = isWindows
      ? /^(FAT|exFAT|CDFS|UDF)/i.test(each.type)
        ? `${each.type} cannot be frozen`
        : undefined
      : unfreezable[each.type];
    if (reason === undefined) devices.add(each.name);
    else skipped.set(each.mountpoint, { path: each.mountpoint, reason });
  }
  return { expectedCount: devices.size, skipped: [...skipped.values()] };
}
