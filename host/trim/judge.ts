import type { DiscardPath } from '../doctor/discard-path.ts';
import { blockOf } from '../libvirt/domain-stats.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import type { Domain } from '../libvirt/domains.ts';
import type { AppError } from '../../shared/errors.ts';
import type { Measurement } from './measure.ts';
import { explainNothing } from './outcome.ts';
import type { TrimmedDisk, TrimmedPath, TrimResult } from './schema.ts';

/** What the guest's agent answered to guest-fstrim, or why it did not. */
export interface GuestTrim {
  readonly paths: readonly TrimmedPath[];
  readonly error: AppError | null;
  readonly ms: number;
}

/** One disk around a trim. */
export interface DiskReadings {
  readonly disk: DiskDescription;
  readonly before: Measurement;
  readonly after: Measurement;
  readonly stable: boolean;
  /** What the guest's filesystems on it used before the trim, bytes; null is unknown. */
  readonly usedBytes: number | null;
  readonly discard: DiscardPath | null;
  /** The domain has no other disk that could be trimmed. */
  readonly onlyDisk: boolean;
}

export interface JudgedDisk {
  readonly disk: TrimmedDisk;
  /** Something should have come back, and did not. */
  readonly missing: boolean;
}

/** Turns one disk's readings into its result, with the reason where nothing came back. */
export function judgeDisk(domain: Domain, readings: DiskReadings, trim: GuestTrim): JudgedDisk {
  const { disk, before, after } = readings;
  const explanation = explainNothing({
    beforeBytes: before.bytes,
    afterBytes: after.bytes,
    capacityBytes: blockOf(domain.stats, disk.target)?.capacity ?? null,
    usedBytes: readings.usedBytes,
    discard: readings.discard,
    paths: trim.paths,
    onlyDisk: readings.onlyDisk,
  });
  return {
    disk: {
      target: disk.target,
      source: disk.source,
      format: disk.format,
      method: after.method,
      beforeBytes: before.bytes,
      afterBytes: after.bytes,
      reclaimedBytes: before.bytes === null || after.bytes === null ? null : before.bytes - after.bytes,
      stable: after.bytes !== null && readings.stable,
      reason: after.reason ?? (trim.error === null ? explanation.reason : null),
    },
    missing: trim.error === null && explanation.missing,
  };
}

/** Success is what was measured: a domain of which nothing could be measured, or that writes so much that nothing can be told, is `unverified`. */
export function domainStatus(
  judged: readonly JudgedDisk[],
  trim: GuestTrim,
  after: Domain | null,
): Pick<TrimResult, 'status' | 'code' | 'reason'> {
  if (after?.state === 'paused' && after.stateReason === 'I/O error') {
    return {
      status: 'failed',
      code: 'io-error',
      reason: 'the domain is paused by an I/O error since the trim: its storage is full or degraded; see virsh domblkerror',
    };
  }
  if (trim.error !== null) return { status: 'failed', code: trim.error.code, reason: trim.error.message };
  const missing = judged.find((each) => each.missing);
  if (missing !== undefined)
    return { status: 'failed', code: 'nothing-reclaimed', reason: `${missing.disk.target}: ${missing.disk.reason ?? ''}` };
  const measured = judged.filter(({ disk }) => disk.reclaimedBytes !== null);
  if (measured.length === 0)
    return { status: 'unverified', code: 'not-measured', reason: judged[0]?.disk.reason ?? 'no disk could be measured' };
  if (measured.every(({ disk }) => !disk.stable && (disk.reclaimedBytes ?? 0) <= 0)) {
    return { status: 'unverified', code: 'not-stable', reason: 'the guest writes faster than the images could be measured' };
  }
  return { status: 'ok', code: null, reason: null };
}
