import * as z from 'zod/mini';
import { domainStates } from '../libvirt/domain-stats.ts';
import { errorCodes } from '../../shared/errors.ts';

const bytes = z.nullable(z.int());

/** Whether a guest's filesystems are frozen, as far as leases and agents tell. */
const frozenState = z.object({
  state: z.enum(['thawed', 'frozen', 'unknown']),
  by: z.nullable(z.enum(['us', 'other'])),
  leaseId: z.nullable(z.string()),
  /** ISO 8601; when the guard thaws it. */
  deadline: z.nullable(z.string()),
  /** ISO 8601. */
  since: z.nullable(z.string()),
});

const listedDisk = z.object({
  target: z.string(),
  source: z.nullable(z.string()),
  format: z.nullable(z.string()),
  capacityBytes: bytes,
  lengthBytes: bytes,
  allocationBytes: bytes,
  commitmentBytes: bytes,
  reclaimableBytes: bytes,
});
export type ListedDisk = z.infer<typeof listedDisk>;

const readable = z.object({
  name: z.string(),
  uuid: z.string(),
  status: z.literal('ok'),
  code: z.nullable(z.enum(errorCodes)),
  reason: z.nullable(z.string()),
  id: z.nullable(z.int()),
  state: z.enum(domainStates),
  stateReason: z.nullable(z.string()),
  agent: z.object({
    channel: z.enum(['absent', 'disconnected', 'connected']),
    answering: z.nullable(z.boolean()),
    kind: z.nullable(z.enum(['qemu-ga', 'virt-trim', 'unknown'])),
    version: z.nullable(z.string()),
    checkedAt: z.nullable(z.string()),
  }),
  os: z.nullable(z.string()),
  disks: z.array(listedDisk),
  lastTrim: z.nullable(z.object({ at: z.string(), reclaimedBytes: bytes, status: z.enum(['ok', 'skipped', 'failed', 'unverified']) })),
  frozen: frozenState,
});

const unreadable = z.object({
  name: z.string(),
  uuid: z.string(),
  status: z.literal('failed'),
  code: z.enum(errorCodes),
  reason: z.string(),
});

/** A domain in `virt-trim list --json`. */
export const listedResult = z.discriminatedUnion('status', [readable, unreadable]);
export type ListedResult = z.infer<typeof listedResult>;
export type ReadableResult = z.infer<typeof readable>;
