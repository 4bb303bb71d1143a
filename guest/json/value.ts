/**
 * JSON values as the agent holds them. All strings in the guest's code are *byte strings*: one character is one byte, 0 to 255,
 * so that a path that is not UTF-8 stays what it is; only the writer looks at them as UTF-8.
 *
 * An integer is a `number` while that is exact and a `bigint` beyond (int64, or uint64 when it is echoed); everything else that
 * is a number is a {@link JsonFloat}, because `1` and `1.0` are different types to QEMU's schema.
 */
export type Json = null | boolean | string | number | bigint | JsonFloat | readonly Json[] | JsonMap | JsonRecord;

/** An object that came in: its keys are the host's. */
export type JsonMap = ReadonlyMap<string, Json>;

/** An object that goes out: its keys are ours, plain ASCII that needs no quoting. `undefined` members are left out. */
export interface JsonRecord {
  readonly [key: string]: Json | undefined;
}

export class JsonFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
