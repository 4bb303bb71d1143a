import * as z from 'zod/mini';
import { cleanText } from '../../shared/clean-text.ts';

/**
 * What we accept from a guest agent, command by command (QEMU, qga/qapi-schema.json). The guest is not trusted: every list and text
 * is bounded, every text is cleaned on the way in, unknown members are dropped. Integers are int64 on the wire and arrive as bigint
 * where they do not fit a double: a schema takes or refuses them knowingly.
 */
const text = (max = 300) =>
  z.pipe(
    z.string().check(z.maxLength(64 * 1024)),
    z.transform((value: string) => cleanText(value, max)),
  );
/** Exact in a double: what does not fit one is no credible number or size, and would not be exact in our JSON. */
const integer = z.int();
const byteCount = z.int().check(z.nonnegative());
const list = <T extends z.ZodMiniType>(item: T, max: number) => z.array(item).check(z.maxLength(max));

export const guestInfo = z.object({
  version: text(60),
  supported_commands: list(z.object({ name: text(80), enabled: z.boolean() }), 500),
});
export type GuestInfo = z.infer<typeof guestInfo>;

export const osInfo = z.object({
  id: z.optional(text(60)),
  name: z.optional(text(100)),
  'pretty-name': z.optional(text(120)),
  version: z.optional(text(100)),
  'kernel-release': z.optional(text(100)),
  machine: z.optional(text(40)),
});
export type OsInfo = z.infer<typeof osInfo>;

/** `trimmed` is what the guest claims; it is never "bytes given back". Before 2.4 the answer was `{}`, Windows gives no counts. */
export const trimAnswer = z.object({
  paths: z.optional(list(z.object({ path: text(300), trimmed: z.optional(byteCount), error: z.optional(text(300)) }), 4096)),
});
export type TrimAnswer = z.infer<typeof trimAnswer>;

const guestDisk = z.object({
  'bus-type': text(40),
  bus: integer,
  target: integer,
  unit: integer,
  'pci-controller': z.object({ domain: integer, bus: integer, slot: integer, function: integer }),
  serial: z.optional(text(200)),
  dev: z.optional(text(300)),
});

export const fsInfo = list(
  z.object({
    name: text(300),
    mountpoint: text(300),
    type: text(60),
    'used-bytes': z.optional(byteCount),
    'total-bytes': z.optional(byteCount),
    disk: list(guestDisk, 256),
  }),
  1024,
);
export type FsInfo = z.infer<typeof fsInfo>;

export const freezeStatus = z.enum(['thawed', 'frozen']);
export type FreezeStatus = z.infer<typeof freezeStatus>;

/** How many filesystems were frozen or thawed. */
export const frozenCount = integer;

export const emptyAnswer = z.object({});
