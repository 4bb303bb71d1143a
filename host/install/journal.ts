import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import * as z from 'zod/mini';
import { AppError } from '../../shared/errors.ts';
import { identifyProcess, isAlive, readBootId } from '../quiesce/boot-clock.ts';
import { openStateDirectory } from '../state/directory.ts';
import { syncDirectory, writeDurably } from '../state/durable.ts';

/** One image that is changed through an overlay in the journal's own directory. */
const overlayNote = z.object({
  target: z.string(),
  base: z.string(),
  format: z.enum(['qcow2', 'raw']),
  file: z.string(),
  baseStamp: z.string(),
});
export type OverlayNote = z.infer<typeof overlayNote>;

/** An ISO that was put into the domain. */
const mediumNote = z.object({
  target: z.string(),
  file: z.string(),
  how: z.enum(['inserted', 'attached-live', 'attached-config']),
});
export type MediumNote = z.infer<typeof mediumNote>;

/** What has to be put back, or finished. Each is written before the change that it is about. */
const notes = z.object({
  /** The persistent XML is about to change; the copy lies beside the journal. */
  xmlKept: z.boolean(),
  channelLive: z.boolean(),
  channelConfig: z.boolean(),
  overlays: z.array(overlayNote),
  /** From here on the images may hold a part of the overlays: only going forward makes them whole. */
  committing: z.boolean(),
  /** The images are changed, whole, and a receipt says so: `agent remove` is the way back. */
  committed: z.boolean(),
  medium: z.nullable(mediumNote),
  /** What runs in the guest, and how it is reached; to be taken back there. */
  ssh: z.nullable(z.string()),
  sshConfig: z.nullable(z.string()),
  insideGuest: z.boolean(),
  /** The guest acts by itself on what it was given (a seed at its boot, a line that somebody types, a program of its agent's): out of our reach. */
  guestActs: z._default(z.boolean(), false),
  started: z.boolean(),
});
export type Notes = z.infer<typeof notes>;

export const noNotes: Notes = {
  xmlKept: false,
  channelLive: false,
  channelConfig: false,
  overlays: [],
  committing: false,
  committed: false,
  medium: null,
  ssh: null,
  sshConfig: null,
  insideGuest: false,
  guestActs: false,
  started: false,
};

const journalRecord = z.object({
  v: z.literal(1),
  /** 12 hexadecimal digits; names the files inside the guest as well. */
  id: z.string().check(z.regex(/^[0-9a-f]{12}$/)),
  uuid: z.string(),
  name: z.string(),
  uri: z.string(),
  verb: z.enum(['install', 'remove']),
  via: z.string(),
  agent: z.enum(['qemu-ga', 'virt-trim']),
  owner: z.object({ pid: z.int(), start: z.string(), boot: z.string() }),
  /** ISO 8601. */
  startedAt: z.string(),
  /** The step in hand, as `--dry-run` words it. */
  step: z.string(),
  notes,
});
export type JournalRecord = z.infer<typeof journalRecord>;

export function installsDirectory(stateDirectory: string): string {
  return path.join(stateDirectory, 'installs');
}

const fileName = 'journal.json';
const keptXmlName = 'inactive.xml';
const changedXmlName = 'changed.xml';

/** Whether the process that wrote the journal still works on it. */
export function isOwned(record: JournalRecord): boolean {
  return record.owner.boot === readBootId() && isAlive({ pid: record.owner.pid, start: record.owner.start });
}

/** A journal's directory: the lock on the domain, the notes, the kept XML, overlays and ISO. It goes when all is done or undone. */
export class Journal {
  readonly directory: string;
  #record: JournalRecord;

  constructor(directory: string, record: JournalRecord) {
    this.directory = directory;
    this.#record = record;
  }

  get record(): JournalRecord {
    return this.#record;
  }

  get notes(): Notes {
    return this.#record.notes;
  }

  async begin(step: string): Promise<void> {
    await this.#write({ ...this.#record, step });
  }

  /** Durable before it returns: what is noted can be undone whatever happens next. */
  async note(changed: Partial<Notes>): Promise<void> {
    await this.#write({ ...this.#record, notes: { ...this.#record.notes, ...changed } });
  }

  /** Takes over from an owner that died. */
  async adopt(): Promise<void> {
    await this.#write({ ...this.#record, owner: ownIdentity() });
  }

  async keepXml(inactive: string): Promise<void> {
    await writeDurably(path.join(this.directory, keptXmlName), inactive);
    await this.note({ xmlKept: true });
  }

  async keptXml(): Promise<string> {
    return readFile(path.join(this.directory, keptXmlName), 'utf8');
  }

  /** What our own change made of it: only while it still stands so may the kept one be put back as a whole. */
  async noteChangedXml(inactive: string): Promise<void> {
    await writeDurably(path.join(this.directory, changedXmlName), inactive);
  }

  /** Null where the change did not get that far. */
  async changedXml(): Promise<string | null> {
    return readFile(path.join(this.directory, changedXmlName), 'utf8').catch(() => null);
  }

  async close(): Promise<void> {
    const gone = `${this.directory}.${randomBytes(4).toString('hex')}.gone`;
    await rename(this.directory, gone);
    await syncDirectory(path.dirname(this.directory));
    await rm(gone, { recursive: true, force: true });
  }

  async #write(record: JournalRecord): Promise<void> {
    await writeDurably(path.join(this.directory, fileName), `${JSON.stringify(record)}\n`);
    this.#record = record;
  }
}

function ownIdentity(): JournalRecord['owner'] {
  const own = identifyProcess(process.pid);
  return { pid: process.pid, start: own?.start ?? '0', boot: readBootId() };
}

export type NewJournal = Pick<JournalRecord, 'uuid' | 'name' | 'uri' | 'verb' | 'via' | 'agent'>;

/**
 * Opens the one journal of a domain.
 * @throws AppError `busy` where somebody works on it, or an interrupted install waits to be recovered; `state-directory`.
 */
export async function openJournal(stateDirectory: string, about: NewJournal): Promise<Journal> {
  const installs = installsDirectory(await openStateDirectory(stateDirectory));
  await mkdir(installs, { recursive: true, mode: 0o700 });
  const directory = path.join(installs, about.uuid);
  const record: JournalRecord = {
    v: 1,
    id: randomBytes(6).toString('hex'),
    ...about,
    owner: ownIdentity(),
    startedAt: new Date().toISOString(),
    step: 'nothing yet',
    notes: noNotes,
  };
  const draft = path.join(installs, `.new.${record.id}`);
  await mkdir(draft, { mode: 0o700 });
  await writeFile(path.join(draft, fileName), `${JSON.stringify(record)}\n`, { mode: 0o600, flush: true });
  try {
    // Onto a directory that has files in it a rename fails: the first one wins.
    await rename(draft, directory);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    const code = (cause as NodeJS.ErrnoException).code;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw new AppError('state-directory', `${directory}: cannot be made`, { cause });
    throw new AppError('busy', await busyReason(stateDirectory, about));
  }
  await syncDirectory(installs);
  return new Journal(directory, record);
}

async function busyReason(stateDirectory: string, { uuid, name }: NewJournal): Promise<string> {
  const other = (await readJournals(stateDirectory)).find((journal) => journal.record.uuid === uuid);
  if (other === undefined) return `${name}: another install or removal has just ended; try again`;
  const { verb, step, startedAt, owner } = other.record;
  if (isOwned(other.record)) return `${name}: process ${owner.pid} is at an agent ${verb} since ${startedAt} (${step}); try later`;
  return `${name}: an agent ${verb} of ${startedAt} was interrupted (${step}); run: virt-trim recover`;
}

/** All journals of this state directory, whoever owns them. One that cannot be read is passed over: it was never begun. */
export async function readJournals(stateDirectory: string): Promise<Journal[]> {
  const installs = installsDirectory(stateDirectory);
  const names = await readdir(installs).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new AppError('state-directory', `${installs}: cannot be read: ${error.message}`, { cause: error });
  });
  const journals: Journal[] = [];
  for (const name of names) {
    if (!/^[0-9a-f-]{36}$/.test(name)) continue;
    const directory = path.join(installs, name);
    const parsed = journalRecord.safeParse(parseText(await readFile(path.join(directory, fileName), 'utf8').catch(() => '')));
    if (parsed.success) journals.push(new Journal(directory, parsed.data));
  }
  return journals;
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // judged by the schema
  }
}
