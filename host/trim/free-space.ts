import { stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod/mini';
import { isTrimmable } from '../doctor/subject.ts';
import { isUnreadable, type Domain, type UnreadableDomain } from '../libvirt/domains.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { formatBytes } from '../../shared/units.ts';

/** A host filesystem that holds images, around a run of trims. */
export const filesystemGain = z.object({
  /** A directory on it, as the domain XML names it. */
  directory: z.string(),
  reclaimedBytes: z.int(),
  freeBeforeBytes: z.int(),
  freeAfterBytes: z.int(),
});
export type FilesystemGain = z.infer<typeof filesystemGain>;

interface Filesystem {
  readonly directory: string;
  readonly files: ReadonlySet<string>;
  readonly freeBytes: number;
}

async function freeBytes(directory: string): Promise<number> {
  const facts = await statfs(directory);
  return facts.bfree * facts.bsize;
}

/** The local filesystems under the domains' image files, with their free space now. Files that cannot be seen are left out. */
export async function surveyFilesystems(domains: readonly (Domain | UnreadableDomain)[]): Promise<Filesystem[]> {
  const found = new Map<number, { directory: string; files: Set<string> }>();
  for (const domain of domains) {
    if (isUnreadable(domain)) continue;
    for (const disk of domain.disks) {
      if (disk.type !== 'file' || disk.source === null || !isTrimmable(disk)) continue;
      const facts = await stat(disk.source).catch(() => null);
      if (facts === null) continue;
      const entry = found.get(facts.dev) ?? { directory: path.dirname(disk.source), files: new Set() };
      entry.files.add(disk.source);
      found.set(facts.dev, entry);
    }
  }
  return Promise.all([...found.values()].map(async (entry) => ({ ...entry, freeBytes: await freeBytes(entry.directory) })));
}

/** What each filesystem gained, beside what its images gave back. */
export async function gainsSince(before: readonly Filesystem[], reclaimed: ReadonlyMap<string, number>): Promise<FilesystemGain[]> {
  return Promise.all(
    before.map(async ({ directory, files, freeBytes: freeBeforeBytes }) => ({
      directory,
      reclaimedBytes: [...files].reduce((sum, file) => sum + (reclaimed.get(file) ?? 0), 0),
      freeBeforeBytes,
      freeAfterBytes: await freeBytes(directory),
    })),
  );
}

const worthMentioning = 64 * 1024 * 1024;

/**
 * Files that shrink while their filesystem gains little: host snapshots or reflinks keep the blocks, or somebody else wrote meanwhile.
 * @returns a sentence, or null where the gain is what the images gave back.
 */
export function explainGain(gain: FilesystemGain): string | null {
  const gained = gain.freeAfterBytes - gain.freeBeforeBytes;
  if (gain.reclaimedBytes < worthMentioning || gained >= gain.reclaimedBytes / 2) return null;
  return (
    `${cleanText(gain.directory)}: the images gave back ${formatBytes(gain.reclaimedBytes)}, the free space grew by ${formatBytes(gained)}; ` +
    'snapshots or reflinks of the host may keep the blocks, or others wrote meanwhile'
  );
}
