import { readFile, statfs } from 'node:fs/promises';
import { mountOf, parseMountinfo } from '../trim/backend.ts';
import { sumStorage, type PlacedImage, type Storage } from './storage.ts';
import type { SizedImage } from './gather.ts';
import type { StorageSizes } from './schema.ts';

export interface SizedGuest {
  readonly name: string;
  readonly uuid: string | null;
  readonly images: readonly SizedImage[];
}

/** Every host filesystem that holds one of these images, the most overcommitted first. */
export async function sumFilesystems(
  guests: readonly SizedGuest[],
  growth: ReadonlyMap<string, number>,
  now: Date,
): Promise<StorageSizes[]> {
  const byDevice = new Map<number, { path: string; placed: PlacedImage[] }>();
  for (const guest of guests) {
    for (const { sizes, file } of guest.images) {
      if (file === null || sizes.allocationBytes === null) continue;
      const entry = byDevice.get(file.device) ?? { path: file.path, placed: [] };
      entry.placed.push({
        identity: `${file.device}:${file.inode}`,
        guest: guest.name,
        guestUuid: guest.uuid,
        allocationBytes: sizes.allocationBytes,
        commitmentBytes: sizes.commitmentBytes,
      });
      byDevice.set(file.device, entry);
    }
  }
  const mounts = parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
  const sums: StorageSizes[] = [];
  for (const { path, placed } of byDevice.values()) sums.push(sumStorage(await describe(path, mounts), placed, growth, now));
  return sums.sort((a, b) => (b.overcommittedBytes ?? 0) - (a.overcommittedBytes ?? 0));
}

async function describe(path: string, mounts: Parameters<typeof mountOf>[0]): Promise<Storage> {
  const mount = mountOf(mounts, path);
  const name = mount?.mountpoint ?? path;
  try {
    const facts = await statfs(path);
    // bavail: QEMU does not run as root, what is kept for root is not there for it.
    return {
      kind: 'filesystem',
      name,
      type: mount?.type ?? null,
      totalBytes: facts.blocks * facts.bsize,
      freeBytes: facts.bavail * facts.bsize,
    };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === undefined) throw cause;
    return { kind: 'filesystem', name, type: mount?.type ?? null, totalBytes: null, freeBytes: null };
  }
}
