import * as z from 'zod/mini';
import { layers, verdicts } from './finding.ts';

/** What one rule says; of the host, with `disk` null. */
export const finding = z.object({
  rule: z.string(),
  layer: z.enum(layers),
  disk: z.nullable(z.string()),
  verdict: z.enum(verdicts),
  evidence: z.string(),
  message: z.string(),
  fix: z.nullable(z.object({ command: z.string(), automatic: z.boolean(), needsColdStart: z.boolean() })),
});

/** A domain in `virt-trim doctor --json`. */
export const doctorResult = z.object({
  name: z.string(),
  uuid: z.nullable(z.string()),
  status: z.enum(['ok', 'failed']),
  code: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  verdict: z.enum(verdicts),
  disks: z.array(z.object({ target: z.string(), source: z.nullable(z.string()), verdict: z.enum(verdicts) })),
  findings: z.array(finding),
});
export type DoctorResult = z.infer<typeof doctorResult>;
