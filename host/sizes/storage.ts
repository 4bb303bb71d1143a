import { fullAt } from './forecast.ts';
import type { StorageSizes } from './schema.ts';

/** One image on a storage, under one of the guests that use it. */
export interface PlacedImage {
  /** Equal for two names of one file. */
  readonly identity: string;
  readonly guest: string;
  readonly guestUuid: string | null;
  readonly allocationBytes: number;
  /** null: no figure. For a layer that this guest only reads: its allocation. */
  readonly commitmentBytes: number | null;
}

export interface Storage {
  readonly kind: StorageSizes['kind'];
  readonly name: string;
  readonly type: string | null;
  readonly totalBytes: number | null;
  readonly freeBytes: number | null;
}

interface Totals {
  allocation: number;
  commitment: number;
}

/**
 * Adds up a storage: every image once, however many guests use it, with the largest commitment that anybody has for it.
 * @param growth bytes a day by guest UUID.
 */
export function sumStorage(storage: Storage, placed: readonly PlacedImage[], growth: ReadonlyMap<string, number>, now: Date): StorageSizes {
  const images = new Map<string, PlacedImage>();
  for (const image of placed) {
    const known = images.get(image.identity);
    const larger = known === undefined || (known.commitmentBytes !== null && (image.commitmentBytes ?? Infinity) > known.commitmentBytes);
    if (larger) images.set(image.identity, image);
  }
  const totals: Totals = { allocation: 0, commitment: 0 };
  const unbounded = new Set<string>();
  const growths = new Map<string, number>();
  for (const image of images.values()) {
    totals.allocation += image.allocationBytes;
    totals.commitment += image.commitmentBytes ?? image.allocationBytes;
    if (image.commitmentBytes === null) unbounded.add(image.guest);
    else growths.set(image.guest, (growths.get(image.guest) ?? 0) + image.commitmentBytes - image.allocationBytes);
  }
  const free = storage.freeBytes;
  const rate = ratePerDay(images, growth);
  return {
    ...storage,
    images: images.size,
    allocationBytes: totals.allocation,
    commitmentBytes: totals.commitment,
    overcommittedBytes: free === null ? null : Math.max(0, totals.commitment - totals.allocation - free),
    unbounded: [...unbounded].sort(),
    guests: [...growths]
      .filter(([, growthBytes]) => growthBytes > 0)
      .sort(([, a], [, b]) => b - a)
      .map(([name, growthBytes]) => ({ name, growthBytes, fillsAlone: free !== null && growthBytes > free })),
    growthBytesPerDay: rate === null ? null : Math.round(rate),
    fullAt: rate === null || free === null ? null : fullAt(free, rate, now),
  };
}

/** The history counts a guest's disks together: here it counts once for the storage that holds some of them. */
function ratePerDay(images: ReadonlyMap<string, PlacedImage>, growth: ReadonlyMap<string, number>): number | null {
  const uuids = new Set([...images.values()].flatMap((image) => image.guestUuid ?? []));
  const rates = [...uuids].flatMap((uuid) => growth.get(uuid) ?? []);
  return rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0);
}
