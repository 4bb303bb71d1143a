import * as z from 'zod/mini';

const bytes = z.nullable(z.int());

/** One image. Bytes; null is unknown, `reason` says why. */
const diskSizes = z.object({
  target: z.string(),
  /** 0 is the layer that the guest writes to; above that what lies below it. */
  layer: z.int(),
  source: z.nullable(z.string()),
  format: z.nullable(z.string()),
  capacityBytes: bytes,
  lengthBytes: bytes,
  allocationBytes: bytes,
  commitmentBytes: bytes,
  /** No commitment can be given: internal snapshots. */
  unbounded: z.boolean(),
  /** Allocation less what the guest's filesystems use. */
  reclaimableByTrimBytes: bytes,
  /** Allocation less what a copy without holes would take; knows nothing of blocks that the guest freed. */
  reclaimableBySparsifyBytes: bytes,
  reason: z.nullable(z.string()),
});
export type DiskSizes = z.infer<typeof diskSizes>;

export const domainSizes = z.object({
  name: z.string(),
  uuid: z.nullable(z.string()),
  status: z.enum(['ok', 'failed']),
  code: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  disks: z.array(diskSizes),
});
export type DomainSizes = z.infer<typeof domainSizes>;

/** A host filesystem or a thin pool, with all the images that were looked at and lie on it. */
export const storageSizes = z.object({
  kind: z.enum(['filesystem', 'thin-pool']),
  name: z.string(),
  type: z.nullable(z.string()),
  totalBytes: bytes,
  freeBytes: bytes,
  images: z.int(),
  allocationBytes: z.int(),
  /** Of the images whose commitment is known. */
  commitmentBytes: z.int(),
  /** By how much the commitments exceed what is there; 0 where they fit. A lower bound while `unbounded` is not empty. */
  overcommittedBytes: bytes,
  /** Guests with internal snapshots, or of a format without a figure. */
  unbounded: z.array(z.string()),
  guests: z.array(z.object({ name: z.string(), growthBytes: z.int(), fillsAlone: z.boolean() })),
  /** From the history of trims: how fast these guests grew, and when the space would be gone. */
  growthBytesPerDay: bytes,
  fullAt: z.nullable(z.string()),
});
export type StorageSizes = z.infer<typeof storageSizes>;
