import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/errors.ts';

/** Our agent's program for one architecture, as `uname -m` and libvirt name it. */
export interface OwnAgent {
  readonly arch: 'x86_64' | 'aarch64';
  readonly file: string;
}

/** ELF machine numbers (elf(5), e_machine). */
const elfMachines: Readonly<Record<number, OwnAgent['arch']>> = { 0x3e: 'x86_64', 0xb7: 'aarch64' };

/** Beside the sources, or beside the bundle's `dist/*.js` and `dist/chunks/*.js`. */
const candidates = ['../../guest/', '../guest/'];

/**
 * The folder that holds the agent's binaries (`dist/`) and service files (`init/`), or null. VIRT_TRIM_GUEST_DIR names another one.
 */
export function guestDirectory(): string | null {
  const named = process.env['VIRT_TRIM_GUEST_DIR'];
  if (named !== undefined && named !== '') return path.resolve(named);
  const folders = candidates.map((folder) => fileURLToPath(new URL(folder, import.meta.url)));
  return folders.find((folder) => existsSync(path.join(folder, 'init'))) ?? null;
}

/** The programs that this installation of virt-trim has; none of them was verified yet. */
export async function findOwnAgents(): Promise<OwnAgent[]> {
  const guest = guestDirectory();
  const directory = path.join(guest ?? '/nonexistent', 'dist');
  if (guest === null || !existsSync(directory)) return [];
  const found: OwnAgent[] = [];
  for (const name of await readdir(directory)) {
    const arch = /^virt-trim-agent-(x86_64|aarch64)$/.exec(name)?.[1] as OwnAgent['arch'] | undefined;
    if (arch !== undefined) found.push({ arch, file: path.join(directory, name) });
  }
  return found;
}

/** What an ELF header says it runs on; null for no ELF file, or a machine that we have no agent for. */
export function elfArchitecture(header: Uint8Array): OwnAgent['arch'] | null {
  if (header.length < 20 || header[0] !== 0x7f || header[1] !== 0x45 || header[2] !== 0x4c || header[3] !== 0x46) return null;
  const littleEndian = header[5] === 1;
  const machine = littleEndian ? (header[18] ?? 0) | ((header[19] ?? 0) << 8) : ((header[18] ?? 0) << 8) | (header[19] ?? 0);
  return elfMachines[machine] ?? null;
}

export interface VerifiedAgent extends OwnAgent {
  readonly content: Buffer;
  /** Hexadecimal. */
  readonly sha256: string;
}

/**
 * Reads the agent for an architecture, and checks it: the checksum against `SHA256SUMS` beside it, the architecture against its own header.
 * @throws AppError `tool-missing` where there is none for it, `refused` where it is not what it should be.
 */
export async function loadOwnAgent(agents: readonly OwnAgent[], arch: string): Promise<VerifiedAgent> {
  const agent = agents.find((one) => one.arch === arch);
  if (agent === undefined)
    throw new AppError('tool-missing', `virt-trim's own agent for ${arch} is not part of this installation; build it: npm run build:guest`);
  const content = await readFile(agent.file);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const name = path.basename(agent.file);
  const sums = await readFile(path.join(path.dirname(agent.file), 'SHA256SUMS'), 'utf8').catch(() => '');
  const expected = sums.split('\n').map((line) => /^([0-9a-f]{64}) [ *](.+)$/.exec(line.trim()));
  const line = expected.find((match) => path.basename(match?.[2] ?? '') === name);
  if (line?.[1] === undefined) throw new AppError('refused', `${agent.file}: SHA256SUMS beside it does not name it; it is not installed`);
  if (line[1] !== sha256) throw new AppError('refused', `${agent.file}: its SHA-256 is not the one in SHA256SUMS; it is not installed`);
  const machine = elfArchitecture(content);
  if (machine !== arch) throw new AppError('refused', `${agent.file}: is a program for ${machine ?? 'another machine'}, not for ${arch}`);
  return { ...agent, content, sha256 };
}
