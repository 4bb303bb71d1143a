import type { HistoryEntry } from '../state/history.ts';
import type { TrimResult } from './schema.ts';

/** Of all disks; null as soon as one is unknown. */
export function totalBytes(result: TrimResult, pick: (disk: TrimResult['disks'][number]) => number | null): number | null {
  const values = result.disks.map(pick);
  return values.length === 0 || values.includes(null) ? null : values.reduce<number>((total, value) => total + (value ?? 0), 0);
}

/** A result as the history keeps it; nothing for a domain that was not found. */
export function toHistory(uri: string, result: TrimResult): HistoryEntry[] {
  if (result.uuid === null) return [];
  return [
    {
      v: 1,
      at: new Date().toISOString(),
      uri,
      uuid: result.uuid,
      name: result.name,
      status: result.status,
      code: result.code,
      beforeBytes: totalBytes(result, (disk) => disk.beforeBytes),
      afterBytes: totalBytes(result, (disk) => disk.afterBytes),
      reclaimedBytes: totalBytes(result, (disk) => disk.reclaimedBytes),
      wallMs: result.wallMs,
    },
  ];
}
