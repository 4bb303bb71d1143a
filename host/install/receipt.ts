import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod/mini';
import { openStateDirectory } from '../state/directory.ts';
import { removeDurably, writeDurably } from '../state/durable.ts';

/** What an install brought, so that `agent remove` takes away that and nothing else. The guest keeps its own list of files and packages. */
const receipt = z.object({
  v: z.literal(1),
  uuid: z.string(),
  name: z.string(),
  via: z.string(),
  /** Null where only the channel was added so far. */
  agent: z.nullable(z.enum(['qemu-ga', 'virt-trim'])),
  channel: z.object({ live: z.boolean(), config: z.boolean() }),
  /** The persistent XML before the channel came; null where the channel was there already. */
  xmlBefore: z.nullable(z.string()),
  xmlAfter: z.nullable(z.string()),
  /** ISO 8601. */
  installedAt: z.string(),
  /** Whether the agent has answered, frozen, thawed and passed the trim check since. */
  proven: z.boolean(),
});
export type Receipt = z.infer<typeof receipt>;

function fileOf(stateDirectory: string, uuid: string): string {
  return path.join(stateDirectory, 'installed', `${uuid}.json`);
}

/** @returns null where nothing was installed by us from this state directory, or the file is damaged. */
export async function readReceipt(stateDirectory: string, uuid: string): Promise<Receipt | null> {
  const text = await readFile(fileOf(stateDirectory, uuid), 'utf8').catch(() => '');
  try {
    const parsed = receipt.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null; // no receipt, or half of one
  }
}

/** @throws AppError `state-directory`. */
export async function writeReceipt(stateDirectory: string, content: Receipt): Promise<void> {
  const file = fileOf(await openStateDirectory(stateDirectory), content.uuid);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeDurably(file, `${JSON.stringify(content)}\n`);
}

export async function removeReceipt(stateDirectory: string, uuid: string): Promise<void> {
  await removeDurably(fileOf(stateDirectory, uuid));
}
