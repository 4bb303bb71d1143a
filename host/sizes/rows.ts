import { cleanText } from '../../shared/clean-text.ts';
import { formatBytes } from '../../shared/units.ts';
import type { Column } from '../report/table.ts';
import type { DomainSizes, StorageSizes } from './schema.ts';

export const sizeColumns: readonly Column[] = [
  { head: 'Domain' },
  { head: 'Disk' },
  { head: 'Format' },
  { head: 'Capacity', align: 'right' },
  { head: 'Length', align: 'right' },
  { head: 'Allocation', align: 'right' },
  { head: 'Commitment', align: 'right' },
  { head: 'By trim', align: 'right' },
  { head: 'By sparsify', align: 'right' },
];

export function sizeRows(domain: DomainSizes): string[][] {
  const name = cleanText(domain.name);
  if (domain.status === 'failed') return [[name, '-', '-', '-', '-', '-', '-', '-', '-']];
  return domain.disks.map((disk) => [
    name,
    disk.layer === 0 ? disk.target : `${disk.target} ↳ ${disk.layer}`,
    cleanText(disk.format ?? '-', 20),
    formatBytes(disk.capacityBytes),
    formatBytes(disk.lengthBytes),
    formatBytes(disk.allocationBytes),
    disk.unbounded ? 'unbounded' : formatBytes(disk.commitmentBytes),
    formatBytes(disk.reclaimableByTrimBytes),
    formatBytes(disk.reclaimableBySparsifyBytes),
  ]);
}

export const storageColumns: readonly Column[] = [
  { head: 'Storage' },
  { head: 'Type' },
  { head: 'Size', align: 'right' },
  { head: 'Free', align: 'right' },
  { head: 'Images', align: 'right' },
  { head: 'Allocated', align: 'right' },
  { head: 'Committed', align: 'right' },
  { head: 'Overcommitted', align: 'right' },
  { head: 'Full' },
];

export function storageRow(storage: StorageSizes): string[] {
  const atLeast = storage.unbounded.length > 0 ? '≥ ' : '';
  return [
    cleanText(storage.name),
    storage.type ?? '-',
    formatBytes(storage.totalBytes),
    formatBytes(storage.freeBytes),
    String(storage.images),
    formatBytes(storage.allocationBytes),
    atLeast + formatBytes(storage.commitmentBytes),
    storage.overcommittedBytes === null
      ? '-'
      : storage.overcommittedBytes === 0
        ? 'no'
        : `by ${atLeast}${formatBytes(storage.overcommittedBytes)}`,
    storage.fullAt === null ? '-' : `about ${storage.fullAt.slice(0, 10)}`,
  ];
}

/** Who could fill an overcommitted storage, in a sentence each. */
export function overflowLines(storage: StorageSizes): string[] {
  if ((storage.overcommittedBytes ?? 0) === 0 && storage.unbounded.length === 0) return [];
  const lines = storage.guests.slice(0, 10).map((guest) => {
    const alone = guest.fillsAlone ? ', more than is free: it can fill it alone' : '';
    return `${cleanText(storage.name)}: ${cleanText(guest.name)} can grow by ${formatBytes(guest.growthBytes)}${alone}`;
  });
  const more = storage.guests.length > 10 ? [`${cleanText(storage.name)}: and ${storage.guests.length - 10} more`] : [];
  const unbounded = storage.unbounded.map(
    (name) => `${cleanText(storage.name)}: ${cleanText(name)} has no bound (see the reason at its disk)`,
  );
  return [...lines, ...more, ...unbounded];
}
