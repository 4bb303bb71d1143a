import { open, readFile, rename, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod/mini';
import { AppError } from '../../shared/errors.ts';
import { openStateDirectory } from './directory.ts';

/** One trim of one domain, as a line of `history.jsonl` (docs/history.md). Bytes; null is unknown. */
const historyEntry = z.object({
  v: z.literal(1),
  at: z.string(),
  uri: z.string(),
  uuid: z.string(),
  name: z.string(),
  status: z.enum(['ok', 'skipped', 'failed', 'unverified']),
  code: z.nullable(z.string()),
  beforeBytes: z.nullable(z.int()),
  afterBytes: z.nullable(z.int()),
  reclaimedBytes: z.nullable(z.int()),
  wallMs: z.int(),
});
export type HistoryEntry = z.infer<typeof historyEntry>;

const fileName = 'history.jsonl';
/** At this size the file becomes history.jsonl.1; the older one is dropped. About 40,000 trims are kept. */
const rotateAtBytes = 4 * 1024 * 1024;

/**
 * Appends entries; one write, so that two processes never mix their lines (O_APPEND). A line that was torn by a power cut or a full disk
 * is ended first, or it would take ours with it.
 * @throws AppError `state-directory`.
 */
export async function appendHistory(directory: string, entries: readonly HistoryEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const file = path.join(await openStateDirectory(directory), fileName);
  try {
    const size = await stat(file).then(
      (facts) => facts.size,
      () => 0,
    );
    if (size > rotateAtBytes) await rename(file, `${file}.1`);
    const handle = await open(file, 'a+', 0o600);
    try {
      const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
      await handle.appendFile((await endsInLine(handle)) ? lines : `\n${lines}`);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new AppError('state-directory', `${file}: the history cannot be written: ${(cause as Error).message}`, {
      cause,
      context: { file },
    });
  }
}

async function endsInLine(handle: FileHandle): Promise<boolean> {
  const { size } = await handle.stat();
  if (size === 0) return true;
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] === 0x0a;
}

/** Every entry that can be read, oldest first; a torn or foreign line is passed over. A missing history is empty. */
export async function readHistory(directory: string): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = [];
  for (const name of [`${fileName}.1`, fileName]) {
    const text = await readIfThere(path.join(directory, name));
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const parsed = historyEntry.safeParse(parseLine(line));
      if (parsed.success) entries.push(parsed.data);
    }
  }
  return entries;
}

/** The newest entry of each domain. */
export function lastTrims(entries: readonly HistoryEntry[]): Map<string, HistoryEntry> {
  return new Map(entries.filter((entry) => entry.status !== 'skipped').map((entry) => [entry.uuid, entry]));
}

async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return '';
    throw new AppError('state-directory', `${file}: cannot be read: ${(cause as Error).message}`, { cause, context: { file } });
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null; // a line torn by a power cut
  }
}
