import { cleanText } from '../../shared/clean-text.ts';
import { formatBytes } from '../../shared/units.ts';
import type { Column } from '../report/table.ts';
import type { TrimResult } from './schema.ts';

export const trimColumns: readonly Column[] = [
  { head: 'Domain' },
  { head: 'Status' },
  { head: 'Disk' },
  { head: 'Before', align: 'right' },
  { head: 'After', align: 'right' },
  { head: 'Reclaimed', align: 'right' },
  { head: 'Reason' },
];

function percent(before: number | null, reclaimed: number | null): string {
  if (before === null || reclaimed === null || before === 0 || reclaimed <= 0) return '';
  return ` (${Math.round((100 * reclaimed) / before)} %)`;
}

/** A row for each disk; a domain that was not trimmed has one row. */
export function trimRows(result: TrimResult): string[][] {
  const name = cleanText(result.name);
  if (result.disks.length === 0) return [[name, result.status, '-', '-', '-', '-', result.reason ?? '']];
  return result.disks.map((disk, index) => [
    index === 0 ? name : '',
    index === 0 ? result.status : '',
    disk.target,
    formatBytes(disk.beforeBytes),
    formatBytes(disk.afterBytes),
    formatBytes(disk.reclaimedBytes) + percent(disk.beforeBytes, disk.reclaimedBytes),
    disk.reason ?? (index === 0 ? (result.reason ?? '') : ''),
  ]);
}

/** What the guest said, path by path; for -v. */
export function pathLines(result: TrimResult): string[] {
  return result.paths.map(
    (path) => `${cleanText(result.name)}: ${path.path}: ${path.error ?? `the guest says ${formatBytes(path.trimmedBytes)} trimmed`}`,
  );
}

/** The last line: what came back in all, from how many domains. */
export function totalLine(results: readonly TrimResult[]): string {
  const reclaimed = results
    .flatMap((result) => result.disks.map((disk) => disk.reclaimedBytes ?? 0))
    .reduce((sum, bytes) => sum + bytes, 0);
  const count = (status: TrimResult['status']) => results.filter((result) => result.status === status).length;
  const parts = (['ok', 'unverified', 'skipped', 'failed'] as const)
    .filter((status) => count(status) > 0)
    .map((status) => `${count(status)} ${status}`);
  return `${formatBytes(reclaimed)} given back to the host; ${results.length} domain${results.length === 1 ? '' : 's'}: ${parts.join(', ')}`;
}
