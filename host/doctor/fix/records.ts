import { mkdir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod/mini';
import { AppError } from '../../../shared/errors.ts';
import { openStateDirectory } from '../../state/directory.ts';
import { writeDurably } from '../../state/durable.ts';

/** What was changed in a domain's XML, and all that is needed to undo it. Holds secrets of the XML: 0600. */
const fixRecord = z.object({
  v: z.literal(1),
  id: z.string(),
  at: z.string(),
  uri: z.string(),
  uuid: z.string(),
  name: z.string(),
  rules: z.array(z.string()),
  changes: z.array(z.string()),
  /** `prepared`: written before the define, so that an interrupted one can be undone too. */
  phase: z.enum(['prepared', 'applied', 'reverted']),
  before: z.string(),
  after: z.string(),
});
export type FixRecord = z.infer<typeof fixRecord>;

async function directoryOf(stateDirectory: string, uuid: string): Promise<string> {
  if (!/^[0-9a-f-]{36}$/.test(uuid)) throw new AppError('internal', 'not a UUID');
  await openStateDirectory(stateDirectory);
  const directory = path.join(stateDirectory, 'fix', uuid);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return openStateDirectory(directory);
}

/** Writes or replaces a record. @throws AppError `state-directory`. */
export async function writeRecord(stateDirectory: string, record: FixRecord): Promise<string> {
  const file = path.join(await directoryOf(stateDirectory, record.uuid), `${record.id}.json`);
  await writeDurably(file, `${JSON.stringify(record)}\n`);
  return file;
}

/** A domain's records, oldest first. @throws AppError `state-directory` for one that cannot be read. */
export async function readRecords(stateDirectory: string, uuid: string): Promise<FixRecord[]> {
  const directory = await directoryOf(stateDirectory, uuid);
  const names = (await readdir(directory)).filter((name) => /^[0-9TZ-]+\.json$/.test(name)).sort();
  const records: FixRecord[] = [];
  for (const name of names) {
    const parsed = fixRecord.safeParse(parseJson(await readFile(path.join(directory, name), 'utf8')));
    if (!parsed.success)
      throw new AppError('state-directory', `${path.join(directory, name)}: is not a record of virt-trim fix`, { cause: parsed.error });
    records.push(parsed.data);
  }
  return records;
}

/** `20261122T090512-123Z`: sorts by time, and is a file name. */
export function recordId(at: Date): string {
  return at.toISOString().replaceAll(':', '').replaceAll('-', '').replace('.', '-');
}

/** Where the XML for `virsh define` is put; virsh reads it from a file. */
export async function definitionFile(stateDirectory: string, uuid: string, id: string): Promise<string> {
  return path.join(await directoryOf(stateDirectory, uuid), `${id}.xml`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // judged by the schema
  }
}
