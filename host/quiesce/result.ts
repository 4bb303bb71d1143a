import * as z from 'zod/mini';

const nullableInt = z.nullable(z.int());

/** A domain in the JSON of freeze, thaw, quiesce, hook and recover. */
export const quiesceResult = z.object({
  name: z.string(),
  uuid: z.string(),
  status: z.enum(['ok', 'skipped', 'failed', 'refused', 'busy', 'maybe-frozen']),
  code: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  leaseId: z.nullable(z.string()),
  leaseSeconds: nullableInt,
  /** ISO 8601, wall time: for display only. */
  deadline: z.nullable(z.string()),
  guard: z.nullable(
    z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('detached'), pid: z.int() }),
      z.object({ kind: z.literal('systemd'), unit: z.string() }),
    ]),
  ),
  frozenCount: nullableInt,
  expectedCount: nullableInt,
  skipped: z.array(z.object({ path: z.string(), reason: z.string() })),
  thawedCount: nullableInt,
  /** From sending the freeze to the answer of the thaw: the longest that the guest can have been frozen. */
  frozenMs: nullableInt,
  consistency: z.nullable(z.enum(['application', 'filesystem', 'crash', 'paused'])),
  consistencyReason: z.nullable(z.string()),
  state: z.enum(['thawed', 'frozen', 'unknown']),
  /** Whether the freeze was made under a lease of ours. */
  wasOurs: z.boolean(),
  leaseExpired: z.boolean(),
});
export type QuiesceResult = z.infer<typeof quiesceResult>;

/** A result that says nothing yet. */
export function blankResult(name: string, uuid: string): QuiesceResult {
  return {
    name,
    uuid,
    status: 'ok',
    code: null,
    reason: null,
    leaseId: null,
    leaseSeconds: null,
    deadline: null,
    guard: null,
    frozenCount: null,
    expectedCount: null,
    skipped: [],
    thawedCount: null,
    frozenMs: null,
    consistency: null,
    consistencyReason: null,
    state: 'unknown',
    wasOurs: false,
    leaseExpired: false,
  };
}
