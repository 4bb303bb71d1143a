import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { openStateDirectory } from '../state/directory.ts';
import { syncDirectory } from '../state/durable.ts';
import { identifyProcess, isAlive, readBootId, type ProcessIdentity } from './boot-clock.ts';
import {
  formatPhase,
  formatRecord,
  parsePhase,
  parseRecord,
  parseResult,
  type GuardResult,
  type LeaseRecord,
  type Phase,
} from './lease-record.ts';

/** A lease as it lies on disk: a directory STATE/leases/UUID. */
export interface LeaseState {
  readonly directory: string;
  readonly record: LeaseRecord;
  readonly phase: Phase;
  /** Hundredths of a second of the boot clock. */
  readonly deadlineCentis: number;
  /** The deadline's boot is this one; if not, the deadline has passed. */
  readonly sameBoot: boolean;
  readonly owners: readonly ProcessIdentity[];
  readonly guards: readonly ProcessIdentity[];
  /** The systemd unit of the guard, without its suffix. */
  readonly unit: string | null;
  readonly result: GuardResult | null;
}

export function leasesDirectory(stateDirectory: string): string {
  return path.join(stateDirectory, 'leases');
}

export function leaseDirectory(stateDirectory: string, uuid: string): string {
  return path.join(leasesDirectory(stateDirectory), uuid);
}

function failed(file: string, what: string, cause: unknown): AppError {
  return new AppError('state-directory', `${file}: ${what}: ${(cause as Error).message}`, { cause, context: { file } });
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a lease, durably, in phase `armed`, owned by this process. Renaming a directory onto one that has files fails: there is one lease
 * per guest, whoever comes first.
 * @param program the guard's text; a copy lies in the lease, so that an upgrade of virt-trim changes no guard that runs.
 * @returns its directory, or null where the guest has a lease already.
 * @throws AppError `state-directory`.
 */
export async function createLease(
  stateDirectory: string,
  record: LeaseRecord,
  deadlineCentis: number,
  program: string,
): Promise<string | null> {
  const leases = leasesDirectory(await openStateDirectory(stateDirectory));
  const directory = path.join(leases, record.uuid);
  const draft = path.join(leases, `.new.${record.id}`);
  const own = identifyProcess(process.pid);
  try {
    await mkdir(draft, { recursive: true, mode: 0o700 });
    await writeSynced(path.join(draft, 'owner.1'), `${own?.pid ?? 0} ${own?.start ?? 0}\n`);
    await writeSynced(path.join(draft, 'record'), formatRecord(record));
    await writeSynced(path.join(draft, 'deadline'), `${deadlineCentis}\n`);
    await writeSynced(path.join(draft, 'phase'), formatPhase({ is: 'armed' }));
    await writeSynced(path.join(draft, 'guard.sh'), program);
    await syncDirectory(draft);
    await rename(draft, directory);
    await syncDirectory(leases);
    return directory;
  } catch (cause) {
    await rm(draft, { recursive: true, force: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EROFS') throw error;
    });
    if (['ENOTEMPTY', 'EEXIST'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw failed(draft, 'the lease cannot be written; nothing was frozen', cause);
  }
}

/** One small file of a lease, replaced at once. Synchronous and without fsync: a power cut ends QEMU as well, and with it the freeze. */
function replace(directory: string, name: string, text: string): void {
  const file = path.join(directory, name);
  try {
    writeFileSync(`${file}.own`, text, { mode: 0o600 });
    renameSync(`${file}.own`, file);
  } catch (cause) {
    throw failed(file, 'cannot be written', cause);
  }
}

/** @throws AppError `state-directory`, also where the lease has gone. */
export function writePhase(directory: string, phase: Phase): void {
  replace(directory, 'phase', formatPhase(phase));
}

/** @throws AppError `state-directory`. */
export function writeDeadline(directory: string, centis: number): void {
  replace(directory, 'deadline', `${centis}\n`);
}

/** @throws AppError `state-directory`. */
export function writeUnit(directory: string, unit: string): void {
  replace(directory, 'unit', `${unit}\n`);
}

/** The deadline as it stands now, renewals included; null where the lease has gone. Hundredths of a second of the boot clock. */
export function readDeadline(directory: string): number | null {
  try {
    return Number(readFileSync(path.join(directory, 'deadline'), 'utf8'));
  } catch {
    return null; // removed: no lease
  }
}

/** Whether the directory still is the lease with this id. */
export function isStillLease(directory: string, id: string): boolean {
  try {
    return parseRecord(readFileSync(path.join(directory, 'record'), 'utf8'))?.id === id;
  } catch {
    return false; // removed: no lease
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw failed(file, 'cannot be read', cause);
  }
}

function parseIdentity(text: string | null): ProcessIdentity | null {
  const match = /^(\d+) (\d+)\b.*\n$/.exec(text ?? '');
  return match === null ? null : { pid: Number(match[1]), start: match[2] ?? '' };
}

/** What the guard with that number wrote when it was ready: its process and the answer to its status call. */
export async function readGuard(directory: string, number: 1 | 2): Promise<{ identity: ProcessIdentity; answer: string } | null> {
  const text = await readIfThere(path.join(directory, `guard.${number}`));
  const identity = parseIdentity(text);
  return identity === null ? null : { identity, answer: (text ?? '').trim().split(' ')[2] ?? '' };
}

/** What virsh said to the guard, where its status call failed. */
export async function readGuardFailure(directory: string): Promise<string | null> {
  return readIfThere(path.join(directory, 'failed'));
}

/** What a guard has done, if one has. Synchronous: it is asked in the frozen window. @throws AppError `state-directory`. */
export function readResult(directory: string): GuardResult | null {
  const file = path.join(directory, 'result');
  try {
    return parseResult(readFileSync(file, 'utf8'));
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw failed(file, 'cannot be read', cause);
  }
}

/** Reads the lease in a directory; null where there is none (any more). @throws AppError `state-directory`. */
export async function readLease(directory: string): Promise<LeaseState | null> {
  const record = parseRecord((await readIfThere(path.join(directory, 'record'))) ?? '');
  const phase = parsePhase((await readIfThere(path.join(directory, 'phase'))) ?? '');
  const deadline = await readIfThere(path.join(directory, 'deadline'));
  if (record === null || phase === null || deadline === null) return null;
  const names = await readdir(directory).catch(() => [] as string[]);
  const identities = async (prefix: string): Promise<ProcessIdentity[]> => {
    const found: ProcessIdentity[] = [];
    for (const name of names.filter((each) => new RegExp(`^${prefix}\\.\\d+$`).test(each))) {
      const identity = parseIdentity(await readIfThere(path.join(directory, name)));
      if (identity !== null && isAlive(identity)) found.push(identity);
    }
    return found;
  };
  return {
    directory,
    record,
    phase,
    deadlineCentis: Number(deadline),
    sameBoot: record.bootId === readBootId(),
    owners: await identities('owner'),
    guards: await identities('guard'),
    unit: (await readIfThere(path.join(directory, 'unit')))?.trim() ?? null,
    result: readResult(directory),
  };
}

/** Every lease below the state directory. A missing directory has none. @throws AppError `state-directory`. */
export async function listLeases(stateDirectory: string): Promise<LeaseState[]> {
  const leases = leasesDirectory(stateDirectory);
  let names: string[];
  try {
    names = await readdir(leases);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw failed(leases, 'cannot be read', cause);
  }
  const found: LeaseState[] = [];
  for (const name of names.filter((each) => !each.startsWith('.'))) {
    const lease = await readLease(path.join(leases, name));
    if (lease !== null) found.push(lease);
  }
  return found;
}

/**
 * Removes a lease whose guards have ended. Only its owner may: while an owner lives nobody else does, so that this can never be another lease.
 * @throws AppError `state-directory`.
 */
export async function removeLease(directory: string, id: string): Promise<void> {
  const gone = path.join(path.dirname(directory), `.gone.${id}`);
  try {
    await rename(directory, gone);
    await rm(gone, { recursive: true, force: true });
  } catch (cause) {
    throw failed(directory, 'the lease cannot be removed (its guest is thawed)', cause);
  }
}

const draftIsOldMs = 60_000;

/** Removes halves of leases: a draft whose writer died, a removal that was cut short. */
export async function sweepLeases(stateDirectory: string): Promise<void> {
  const leases = leasesDirectory(stateDirectory);
  const names = await readdir(leases).catch(() => [] as string[]);
  for (const name of names.filter((each) => /^\.(new|gone)\.[0-9a-f]{16}$/.test(each))) {
    const directory = path.join(leases, name);
    const owner = parseIdentity(await readIfThere(path.join(directory, 'owner.1')));
    const facts = await stat(directory).catch(() => null);
    if (facts === null || (owner !== null && isAlive(owner))) continue;
    if (owner === null && Date.now() - facts.mtimeMs < draftIsOldMs && name.startsWith('.new.')) continue;
    await rm(directory, { recursive: true, force: true });
  }
}
