import * as z from 'zod/mini';

const run = z.object({
  /** ISO 8601, UTC. When it begins, unless it has to wait its turn. */
  at: z.string(),
  /** By cron expression and splay; `at` differs where a maintenance window moves it. */
  due: z.string(),
});

/** A domain in `virt-trim schedule --json`. */
export const scheduleResult = z.object({
  name: z.string(),
  uuid: z.string(),
  hypervisor: z.string(),
  status: z.enum(['scheduled', 'excluded', 'failed']),
  code: z.nullable(z.string()),
  /** Why then, or why never. */
  reason: z.string(),
  schedule: z.nullable(z.string()),
  timeZone: z.nullable(z.string()),
  windowSeconds: z.nullable(z.int()),
  splaySeconds: z.nullable(z.int()),
  maintenance: z.nullable(z.string()),
  /** What it shares with others, and what the limit per backend counts. */
  backends: z.array(z.string()),
  next: z.array(run),
  /** What the running daemon does with it now; null where none runs or nothing is going on. */
  now: z.nullable(z.object({ state: z.enum(['running', 'waiting', 'catch-up', 'retry']), detail: z.nullable(z.string()) })),
});
export type ScheduleResult = z.infer<typeof scheduleResult>;

/** The daemon that runs, beside `domains`; null where none does. */
export const daemonSummary = z.object({
  pid: z.int(),
  /** Percent, `some avg10`; null where the kernel does not tell. */
  ioPressure: z.nullable(z.number()),
  counts: z.object({ ok: z.int(), skipped: z.int(), failed: z.int(), unverified: z.int(), reclaimedBytes: z.int() }),
});
