import * as z from 'zod/mini';
import { errorCodes } from '../../shared/errors.ts';

const bytes = z.nullable(z.int());

/** Why a domain was not trimmed, or not to a verified end: an error, or one of these (docs/messages.md). */
export const trimCodes = [
  ...errorCodes,
  'off',
  'paused',
  'migrating',
  'discard-blocked',
  'no-disks',
  'degraded',
  'excluded',
  'io-error',
  'nothing-reclaimed',
  'not-measured',
  'not-stable',
] as const;
export type TrimCode = (typeof trimCodes)[number];

const trimmedDisk = z.object({
  target: z.string(),
  source: z.nullable(z.string()),
  format: z.nullable(z.string()),
  method: z.enum(['st_blocks', 'loop-backing-file', 'lvm-thin', 'zfs-volume', 'domstats', 'none']),
  beforeBytes: bytes,
  afterBytes: bytes,
  /** before − after; negative where the guest wrote more than was freed. */
  reclaimedBytes: bytes,
  /** Two readings after the trim agreed. */
  stable: z.boolean(),
  /** Why nothing came back, or why it could not be measured. */
  reason: z.nullable(z.string()),
});
export type TrimmedDisk = z.infer<typeof trimmedDisk>;

/** What the guest said; never what the host got back. */
const trimmedPath = z.object({ path: z.string(), trimmedBytes: bytes, error: z.nullable(z.string()) });
export type TrimmedPath = z.infer<typeof trimmedPath>;

/** A domain in `virt-trim trim --json`. */
export const trimResult = z.object({
  name: z.string(),
  uuid: z.nullable(z.string()),
  status: z.enum(['ok', 'skipped', 'failed', 'unverified']),
  /** Null where all is well. */
  code: z.nullable(z.enum(trimCodes)),
  reason: z.nullable(z.string()),
  disks: z.array(trimmedDisk),
  paths: z.array(trimmedPath),
  guestTrimMs: z.nullable(z.int()),
  wallMs: z.int(),
  /** The command was sent and never answered: the guest may be trimming still. */
  guestStillRunning: z.boolean(),
});
export type TrimResult = z.infer<typeof trimResult>;
