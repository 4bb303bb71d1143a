import * as z from 'zod/mini';

const agentKind = z.enum(['qemu-ga', 'virt-trim', 'unknown']);

/** What was proven of an agent after the install. */
const proof = z.object({
  kind: agentKind,
  version: z.string(),
  frozenCount: z.int(),
  thawedCount: z.int(),
  frozenMs: z.int(),
  /** What a trim's dry run said; it changes nothing. */
  trim: z.enum(['ok', 'failed', 'skipped']),
  trimReason: z.nullable(z.string()),
});
export type Proof = z.infer<typeof proof>;

const stepResult = z.object({ title: z.string(), status: z.enum(['planned', 'done', 'failed', 'undone', 'pending']) });
export type StepResult = z.infer<typeof stepResult>;

/** A domain in `virt-trim agent install|remove --json`. */
export const installResult = z.object({
  name: z.string(),
  uuid: z.nullable(z.string()),
  /** `pending`: all is in place, and something outside of us has to happen before it can be proven (a cold start, the first boot). */
  status: z.enum(['ok', 'pending', 'skipped', 'failed']),
  code: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  via: z.nullable(z.string()),
  agent: z.nullable(z.enum(['qemu-ga', 'virt-trim'])),
  steps: z.array(stepResult),
  proof: z.nullable(proof),
});
export type InstallResult = z.infer<typeof installResult>;

const wayVerdict = z.object({ way: z.string(), possible: z.boolean(), reason: z.string() });
export type WayVerdict = z.infer<typeof wayVerdict>;

/** A domain in `virt-trim agent status --json`. */
export const agentStatus = z.object({
  name: z.string(),
  uuid: z.string(),
  status: z.enum(['ok', 'failed']),
  code: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  state: z.nullable(z.string()),
  channel: z.nullable(
    z.object({
      live: z.nullable(z.boolean()),
      persistent: z.nullable(z.boolean()),
      connected: z.boolean(),
      /** The persistent XML has it and the running machine does not. */
      needsColdStart: z.boolean(),
    }),
  ),
  agent: z.nullable(z.object({ answering: z.nullable(z.boolean()), kind: z.nullable(agentKind), version: z.nullable(z.string()) })),
  os: z.nullable(z.string()),
  defects: z.array(z.object({ id: z.string(), message: z.string() })),
  installed: z.nullable(z.object({ via: z.string(), agent: z.nullable(z.string()), at: z.string(), proven: z.boolean() })),
  interrupted: z.nullable(z.string()),
  ways: z.array(wayVerdict),
});
export type AgentStatus = z.infer<typeof agentStatus>;
