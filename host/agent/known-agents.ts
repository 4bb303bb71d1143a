import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { writeDurably } from '../state/durable.ts';
import { openStateDirectory } from '../state/directory.ts';
import * as z from 'zod/mini';

/** What we last learned of a domain's agent, so that `list` can tell it without asking. */
const knownAgent = z.object({
  kind: z.enum(['qemu-ga', 'virt-trim', 'unknown']),
  version: z.nullable(z.string()),
  os: z.nullable(z.string()),
  /** ISO 8601. */
  checkedAt: z.string(),
});
export type KnownAgent = z.infer<typeof knownAgent>;

const known = z.record(z.string(), knownAgent);
const fileName = 'agents.json';

/** Keyed by domain UUID; what is unreadable or foreign counts as not known: it is only a cache. */
export async function readKnownAgents(directory: string): Promise<Map<string, KnownAgent>> {
  const text = await readFile(path.join(directory, fileName), 'utf8').catch(() => '{}');
  try {
    const parsed = known.safeParse(JSON.parse(text));
    return new Map(parsed.success ? Object.entries(parsed.data) : []);
  } catch {
    return new Map(); // a damaged cache is an empty one
  }
}

/** Adds what was learned. @throws AppError `state-directory`. */
export async function rememberAgents(directory: string, learned: ReadonlyMap<string, KnownAgent>): Promise<void> {
  if (learned.size === 0) return;
  const opened = await openStateDirectory(directory);
  const merged = new Map([...(await readKnownAgents(opened)), ...learned]);
  await writeDurably(path.join(opened, fileName), JSON.stringify(Object.fromEntries(merged)));
}
