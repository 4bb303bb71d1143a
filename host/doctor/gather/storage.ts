import { readdir, readFile, realpath, statfs } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../../process.ts';
import { mountOf, type Mount } from '../../trim/backend.ts';
import type { BlockFacts, FilesystemFacts } from '../facts.ts';

/** The filesystem a file lies on. */
export async function readFilesystem(file: string, mounts: readonly Mount[]): Promise<FilesystemFacts | null> {
  const resolved = await realpath(file).catch(() => file); // a path we may not walk: its own text has to do
  const mount = mountOf(mounts, resolved);
  if (mount === null) return null;
  const space = await statfs(resolved).catch(() => null);
  return {
    kind: 'filesystem',
    type: mount.type,
    mountpoint: mount.mountpoint,
    source: mount.source,
    options: mount.options,
    totalBytes: space === null ? null : space.blocks * space.bsize,
    freeBytes: space === null ? null : space.bavail * space.bsize,
  };
}

/**
 * What the kernel says of a block device (Documentation/ABI/stable/sysfs-block). No process, except `zfs get` for a zvol.
 * @param rdev device number, as `stat` has it. @param sysfs for tests.
 */
export async function readBlockDevice(rdev: number, sysfs = '/sys'): Promise<BlockFacts | null> {
  // glibc's makedev: 12 bits of major at 8, minor split around it.
  const major = Math.floor(rdev / 256) & 0xfff;
  const minor = (rdev & 0xff) | (Math.floor(rdev / 4096) & 0xfff00);
  const directory = await realpath(path.join(sysfs, 'dev/block', `${major}:${minor}`)).catch(() => null);
  if (directory === null) return null;
  // A partition has no queue of its own.
  const whole = (await readText(path.join(directory, 'partition'))) === null ? directory : path.dirname(directory);
  const name = path.basename(whole);
  const layer = await layerOf(name, whole);
  return {
    kind: 'block',
    name,
    discardMaxBytes: toNumber(await readText(path.join(whole, 'queue/discard_max_bytes'))),
    discardGranularityBytes: toNumber(await readText(path.join(whole, 'queue/discard_granularity'))),
    layer,
    zvol: layer === 'zvol' ? await readZvol(name) : null,
  };
}

async function layerOf(name: string, directory: string): Promise<BlockFacts['layer']> {
  const plain = /^(loop|zd|rbd|nbd)\d+$/.exec(name)?.[1];
  if (plain !== undefined) return plain === 'zd' ? 'zvol' : (plain as 'loop' | 'rbd' | 'nbd');
  const uuid = await readText(path.join(directory, 'dm/uuid'));
  if (uuid === null) return 'disk';
  if (uuid.startsWith('CRYPT-')) return 'crypt';
  if (uuid.startsWith('mpath-')) return 'multipath';
  if (!uuid.startsWith('LVM-')) return 'device-mapper';
  // LVM's own naming of the layers below a volume (lvm2, lib/misc: UUID suffixes): -tpool, -real, -cow.
  const below = await readdir(path.join(directory, 'slaves')).catch(() => []);
  for (const slave of below) {
    const slaveUuid = (await readText(path.join(directory, 'slaves', slave, 'dm/uuid'))) ?? '';
    if (slaveUuid.endsWith('-tpool')) return 'lvm-thin';
    if (slaveUuid.endsWith('-real') || slaveUuid.endsWith('-cow')) return 'lvm-snapshot';
  }
  return 'lvm-thick';
}

/** Reads `zfs get -Hp -o property,value refreservation,usedbysnapshots DATASET`. */
export function parseZfsProperties(text: string): { refreservationBytes: number | null; snapshotBytes: number | null } {
  const values = new Map(text.split('\n').map((line) => line.split('\t') as [string, string]));
  return {
    refreservationBytes: toNumber(values.get('refreservation') ?? null),
    snapshotBytes: toNumber(values.get('usedbysnapshots') ?? null),
  };
}

async function readZvol(name: string): Promise<BlockFacts['zvol']> {
  const dataset = await zvolDataset(name);
  if (dataset === null) return null;
  const args = ['get', '-Hp', '-o', 'property,value', 'refreservation,usedbysnapshots', dataset];
  const answer = await runTool('zfs', args, { timeoutMs: 5000, env: { LC_ALL: 'C' } }).catch(() => null);
  if (answer === null || answer.exitCode !== 0) return null;
  return { dataset, ...parseZfsProperties(answer.stdout) };
}

/** udev's links are the way back from zdN to its dataset. */
async function zvolDataset(name: string): Promise<string | null> {
  const root = '/dev/zvol';
  const entries = await readdir(root, { recursive: true }).catch(() => []);
  for (const entry of entries) {
    const target = await realpath(path.join(root, entry)).catch(() => null);
    if (target === `/dev/${name}`) return entry;
  }
  return null;
}

async function readText(file: string): Promise<string | null> {
  return readFile(file, 'utf8').then(
    (text) => text.trim(),
    () => null,
  );
}

function toNumber(text: string | null): number | null {
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
