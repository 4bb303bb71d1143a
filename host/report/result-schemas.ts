import * as z from 'zod/mini';
import { agentStatus, installResult } from '../install/schema.ts';
import { demoStep } from '../demo/schema.ts';
import { fixResult } from '../doctor/fix/schema.ts';
import { doctorResult, finding } from '../doctor/schema.ts';
import { listedResult } from '../list/schema.ts';
import { quiesceResult } from '../quiesce/result.ts';
import { daemonSummary, scheduleResult } from '../schedule/schema.ts';
import { domainSizes, storageSizes } from '../sizes/schema.ts';
import { filesystemGain } from '../trim/free-space.ts';
import { trimResult } from '../trim/schema.ts';

/** What stands in `domains[]` of each verb's `--json`. The schemas under docs/schema are made from these. */
const domainResults = {
  list: listedResult,
  trim: trimResult,
  demo: trimResult,
  doctor: doctorResult,
  fix: fixResult,
  sizes: domainSizes,
  schedule: scheduleResult,
  freeze: quiesceResult,
  thaw: quiesceResult,
  'lease renew': quiesceResult,
  quiesce: quiesceResult,
  recover: quiesceResult,
  'hook pre': quiesceResult,
  'hook post': quiesceResult,
  'agent status': agentStatus,
  'agent install': installResult,
  'agent remove': installResult,
} as const;

/** More members beside `domains`, verb by verb. */
const extras: Partial<Record<keyof typeof domainResults, z.core.$ZodShape>> = {
  demo: { steps: z.array(demoStep) },
  doctor: { host: z.array(finding) },
  quiesce: { commandStatus: z.nullable(z.int()), commandSignal: z.nullable(z.string()) },
  schedule: { daemon: z.nullable(daemonSummary) },
  sizes: { storages: z.array(storageSizes) },
  trim: { dryRun: z.boolean(), filesystems: z.array(filesystemGain) },
};

/** The whole document that a verb prints, as a JSON schema (draft 2020-12), by verb. */
export function resultSchemas(): Map<string, Record<string, unknown>> {
  const schemas = new Map<string, Record<string, unknown>>();
  for (const [verb, result] of Object.entries(domainResults)) {
    const envelope = z.object({
      schemaVersion: z.literal(1),
      command: z.literal(verb),
      uri: z.string(),
      startedAt: z.iso.datetime(),
      finishedAt: z.iso.datetime(),
      exitStatus: z.int(),
      domains: z.array(result),
      ...extras[verb as keyof typeof domainResults],
      /** Only where the whole run failed; `domains` is empty then. */
      error: z.optional(z.object({ code: z.string(), message: z.string() })),
    });
    const name = verb.replaceAll(' ', '-');
    schemas.set(name, {
      $id: `https://virt-trim.org/schemas/${name}-1.json`,
      title: `virt-trim ${verb} --json`,
      ...z.toJSONSchema(envelope, { io: 'output' }),
    });
  }
  return schemas;
}
