import type { DiscardPath } from '../doctor/discard-path.ts';
import { formatBytes } from '../../shared/units.ts';
import type { TrimmedPath } from './schema.ts';

const mebibyte = 1024 * 1024;

/** What is known of one disk around a trim. Bytes; null is unknown. */
export interface DiskEvidence {
  readonly beforeBytes: number | null;
  readonly afterBytes: number | null;
  readonly capacityBytes: number | null;
  /** What the guest's filesystems on this disk used before the trim. */
  readonly usedBytes: number | null;
  readonly discard: DiscardPath | null;
  /** All disks' paths: the guest does not say which path is on which disk. */
  readonly paths: readonly TrimmedPath[];
  /** The domain has no other disk that could be trimmed. */
  readonly onlyDisk: boolean;
}

export interface Explanation {
  readonly reason: string | null;
  /** Something should have come back, and did not. */
  readonly missing: boolean;
}

/** Below a qcow2 cluster nothing can be freed; a cluster or two of metadata moves by itself. */
const noiseBytes = 256 * 1024;

/** What a filesystem takes beyond its files: inode tables, journal. Measured on ext4 and xfs defaults; generous, since it decides on blame. */
function overheadBytes(capacity: number): number {
  return 160 * mebibyte + capacity * 0.03;
}

/** One line why a disk got nothing back, from evidence alone, the surest first. */
export function explainNothing(evidence: DiskEvidence): Explanation {
  const { beforeBytes: before, afterBytes: after, capacityBytes: capacity, usedBytes: used, discard, paths } = evidence;
  if (before === null || after === null) return { reason: null, missing: false };
  if (before - after > noiseBytes) return { reason: null, missing: false };
  if (discard?.verdict === 'blocks') return { reason: `${discard.message} [${discard.evidence}]`, missing: true };
  const trimmed = paths.reduce((sum, path) => sum + (path.trimmedBytes ?? 0), 0);
  const refused = paths.filter((path) => path.error !== null);
  if (paths.length > 0 && refused.length === paths.length) {
    return { reason: `the guest could trim nothing: ${refused[0]?.path ?? ''}: ${refused[0]?.error ?? ''}`, missing: true };
  }
  // At least so much of what the guest discarded must have been allocated here: the rest of the disk cannot hold it.
  const owed = evidence.onlyDisk && capacity !== null ? before + trimmed - capacity : 0;
  const slack = used === null || capacity === null ? null : before - used - overheadBytes(capacity);
  if (owed > overheadBytes(capacity ?? 0) || (slack !== null && slack > 0 && trimmed > slack)) {
    const kept = discard?.verdict === 'warning' ? `: ${discard.message}` : "; a layer in between keeps it, 'virt-trim doctor' looks for it";
    return { reason: `the guest discarded ${formatBytes(trimmed)} and the host got nothing${kept}`, missing: true };
  }
  if (trimmed === 0 && paths.length > 0) {
    const still =
      slack !== null && slack > 0 ? `; ${formatBytes(before - (used ?? 0))} may come back after the guest remounts or reboots` : '';
    return { reason: `already trimmed: the guest found nothing new to discard${still}`, missing: false };
  }
  if (discard?.verdict === 'warning') return { reason: discard.message, missing: false };
  return { reason: 'nothing to free: what the guest discarded was not allocated on the host', missing: false };
}
