/**
 * JSON values as the agent holds them. All strings in the guest's code are *byte strings*: one character is one byte, 0 to 255,
 * so that a path that is not UTF-8 stays what it is; only the writer looks at them as UTF-8.
 *
 * An integer is a `number` while that is exact and its digits beyond ({@link JsonInteger}); everything else that is a number is a
 * {@link JsonFloat}, because `1` and `1.0` are different types to QEMU's schema. BigInt is not used: QuickJS 2025-04-26 writes one
 * that has a zero in its highest limb (2^63 and above) into a buffer whose size comes from `__builtin_clzl(0)`, which is undefined.
 */
export type Json = null | boolean | string | number | JsonInteger | JsonFloat | readonly Json[] | JsonMap | JsonRecord;

/** An object that came in: its keys are the host's. */
export type JsonMap = ReadonlyMap<string, Json>;

/** An object that goes out: its keys are ours, plain ASCII that needs no quoting. `undefined` members are left out. */
export interface JsonRecord {
  readonly [key: string]: Json | undefined;
}

/** An integer of 64 bits that a double cannot hold: what stood in the request, or in a file of the kernel's. */
export class JsonInteger {
  readonly digits: string;
  constructor(digits: string) {
    this.digits = digits;
  }
}

export class JsonFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
