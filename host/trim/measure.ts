import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { BlockStats } from '../libvirt/domain-stats.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import { runTool } from '../process.ts';

/** How a disk's allocation was measured; `none` with the reason why it could not be. */
export type MeasureMethod = 'st_blocks' | 'loop-backing-file' | 'lvm-thin' | 'zfs-volume' | 'domstats' | 'none';

/** What a disk takes on the host at one moment, in bytes; null is unknown. */
export interface Measurement {
  readonly bytes: number | null;
  /** The file's length, where there is a file: it can pass the capacity, and it says nothing about the space taken. */
  readonly lengthBytes: number | null;
  readonly method: MeasureMethod;
  readonly reason: string | null;
}

export interface MeasureOptions {
  /** Only then are paths of the XML paths of this machine. */
  readonly isLocal: boolean;
  readonly stats: BlockStats | null;
  readonly running: boolean;
}

const sectorBytes = 512;
const toolTimeoutMs = 5000;

/** For a disk that nobody measured. */
export const notMeasured: Measurement = { bytes: null, lengthBytes: null, method: 'none', reason: 'not measured' };

function unknown(reason: string): Measurement {
  return { bytes: null, lengthBytes: null, method: 'none', reason };
}

/**
 * Measures the active layer of a disk: the only one that a trim can shrink.
 * A local file: `st_blocks` (stat(2): always in units of 512 bytes). Remote: what libvirt reports, where that is the allocation.
 */
export async function measureDisk(disk: DiskDescription, options: MeasureOptions): Promise<Measurement> {
  if (disk.source === null) return unknown('no image in the drive');
  if (disk.type === 'file') return options.isLocal ? measureFile(disk.source, disk, options) : fromStatistics(disk, options);
  if (disk.type === 'block')
    return options.isLocal ? measureBlockDevice(disk.source) : unknown('a block device on another host cannot be measured from here');
  if (disk.type === 'network') return unknown(`a network disk (${disk.protocol ?? 'unknown protocol'}) cannot be measured on this host`);
  return unknown(`a disk of type '${disk.type}' cannot be measured on this host`);
}

async function measureFile(file: string, disk: DiskDescription, options: MeasureOptions): Promise<Measurement> {
  try {
    const facts = await stat(file);
    return { bytes: facts.blocks * sectorBytes, lengthBytes: facts.size, method: 'st_blocks', reason: null };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const other = fromStatistics(disk, options);
    if (other.bytes !== null) return other;
    return unknown(code === 'ENOENT' ? 'the image file does not exist here' : `the image file cannot be read: ${code ?? 'error'}`);
  }
}

/**
 * `domstats` of a running domain: `physical` is the bytes allocated (libvirt 9.0), except that a raw image without any block reports its
 * length; of a domain that is off the two are exchanged, so `allocation` is meant there.
 */
function fromStatistics(disk: DiskDescription, options: MeasureOptions): Measurement {
  const { stats } = options;
  if (stats === null) return unknown('libvirt reports no size for this disk');
  const bytes = options.running ? stats.physical : stats.allocation;
  if (bytes === null) return unknown('libvirt reports no size for this disk');
  if (disk.format === 'raw' && bytes === stats.capacity) return unknown('libvirt reports the length of this raw image, not its allocation');
  return { bytes, lengthBytes: null, method: 'domstats', reason: null };
}

async function measureBlockDevice(device: string): Promise<Measurement> {
  const loop = /^\/dev\/(loop\d+)$/.exec(device)?.[1];
  if (loop !== undefined) return measureLoop(loop);
  const zvol = /^\/dev\/zvol\/(.+)$/.exec(device)?.[1];
  if (zvol !== undefined)
    return measureWith('zfs', ['get', '-Hp', '-o', 'value', 'used', zvol], 'zfs-volume', (text) => numberOrNull(text));
  if (/^\/dev\/(mapper\/|dm-|[^/]+\/[^/]+$)/.test(device)) {
    const args = ['--noheadings', '--nosuffix', '--units', 'b', '--separator', '|', '-o', 'lv_size,data_percent,segtype', device];
    return measureWith('lvs', args, 'lvm-thin', thinBytes);
  }
  return unknown('this block device cannot tell how much of it is in use');
}

async function measureLoop(loop: string): Promise<Measurement> {
  try {
    const file = (await readFile(path.join('/sys/block', loop, 'loop/backing_file'), 'utf8')).trim();
    const facts = await stat(file);
    return { bytes: facts.blocks * sectorBytes, lengthBytes: null, method: 'loop-backing-file', reason: null };
  } catch (cause) {
    return unknown(`the file behind ${loop} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? 'error'}`);
  }
}

async function measureWith(
  program: string,
  args: string[],
  method: MeasureMethod,
  read: (text: string) => number | null,
): Promise<Measurement> {
  const result = await runTool(program, args, { timeoutMs: toolTimeoutMs, env: { LC_ALL: 'C' } }).catch(() => null);
  if (result === null) return unknown(`${program} is not installed here, so this volume cannot be measured`);
  const bytes = result.exitCode === 0 ? read(result.stdout.trim()) : null;
  return bytes === null
    ? unknown(`${program} cannot tell how much of this volume is in use`)
    : { bytes, lengthBytes: null, method, reason: null };
}

function numberOrNull(text: string): number | null {
  return /^\d+$/.test(text) ? Number(text) : null;
}

/** lvs(8): only a thin volume has a data_percent; a thick one is always wholly allocated. */
export function thinBytes(line: string): number | null {
  const [size, percent, type] = line.trim().split('|');
  if (type !== 'thin' || percent === undefined || percent === '') return null;
  return Math.round((Number(size) * Number(percent)) / 100);
}
