import { cleanText } from '../../shared/clean-text.ts';

/** What a qcow2 header says (QEMU, docs/interop/qcow2.txt). All of it is a claim of the file, and nothing in it is followed. */
export interface Qcow2Header {
  readonly compat: '0.10' | '1.1';
  readonly capacityBytes: number;
  readonly clusterBytes: number;
  readonly refcountBits: number;
  readonly extendedL2: boolean;
  readonly encryption: 'none' | 'aes' | 'luks';
  readonly luksHeaderBytes: number;
  readonly internalSnapshots: number;
  /** Cleaned for display; never opened. */
  readonly backingFile: string | null;
  readonly dataFile: string | null;
  /** Set in the incompatible features even where no name is stored. */
  readonly hasDataFile: boolean;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly bitmaps: number;
}

/** As much of a file as a header can need: it lies in the first cluster, and names are at most 1023 bytes. */
export const headerBytes = 64 * 1024;

const magic = 0x514649fb;
const extension = { end: 0, bitmaps: 0x23852875, dataFile: 0x44415441, luks: 0x0537be77 } as const;
const maxNameBytes = 1023;
/** QEMU allows 512 B to 2 MiB (block/qcow2.h). */
const clusterBits = { least: 9, most: 21 } as const;

export function hasQcow2Magic(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.readUInt32BE(0) === magic;
}

/** Reads the beginning of a qcow2 file. @returns null for anything that is not a header QEMU would open. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header | null {
  if (bytes.length < 72 || !hasQcow2Magic(bytes)) return null;
  const version = bytes.readUInt32BE(4);
  const bits = bytes.readUInt32BE(20);
  const capacity = bytes.readBigUInt64BE(24);
  if ((version !== 2 && version !== 3) || bits < clusterBits.least || bits > clusterBits.most) return null;
  if (capacity > BigInt(Number.MAX_SAFE_INTEGER) || (version === 3 && bytes.length < 104)) return null;
  const incompatible = version === 3 ? bytes.readBigUInt64BE(72) : 0n;
  const refcountOrder = version === 3 ? bytes.readUInt32BE(96) : 4;
  if (refcountOrder > 6) return null;
  const extensions = readExtensions(bytes, version === 3 ? bytes.readUInt32BE(100) : 72);
  return {
    compat: version === 3 ? '1.1' : '0.10',
    capacityBytes: Number(capacity),
    clusterBytes: 2 ** bits,
    refcountBits: 2 ** refcountOrder,
    extendedL2: (incompatible & 16n) !== 0n,
    encryption: (['none', 'aes', 'luks'] as const)[bytes.readUInt32BE(32)] ?? 'none',
    luksHeaderBytes: extensions.luksBytes,
    internalSnapshots: bytes.readUInt32BE(60),
    backingFile: readName(bytes, bytes.readBigUInt64BE(8), bytes.readUInt32BE(16)),
    dataFile: extensions.dataFile,
    hasDataFile: (incompatible & 4n) !== 0n || extensions.dataFile !== null,
    dirty: (incompatible & 1n) !== 0n,
    corrupt: (incompatible & 2n) !== 0n,
    bitmaps: extensions.bitmaps,
  };
}

/** An offset of 0 means: none. A name that lies outside of what was read is still a name: it must not pass for "no backing file". */
function readName(bytes: Buffer, offset: bigint, length: number): string | null {
  if (offset === 0n) return null;
  const start = Number(offset);
  if (length === 0 || length > maxNameBytes || start + length > bytes.length) return '(unreadable name)';
  return cleanText(bytes.toString('utf8', start, start + length), 300);
}

function readExtensions(bytes: Buffer, start: number): { dataFile: string | null; luksBytes: number; bitmaps: number } {
  const found = { dataFile: null as string | null, luksBytes: 0, bitmaps: 0 };
  let at = start;
  for (let count = 0; count < 64 && at + 8 <= bytes.length; count += 1) {
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    const body = at + 8;
    if (type === extension.end || body + length > bytes.length) break;
    if (type === extension.dataFile) found.dataFile = cleanText(bytes.toString('utf8', body, body + Math.min(length, maxNameBytes)), 300);
    if (type === extension.luks && length >= 16) found.luksBytes = Number(bytes.readBigUInt64BE(body + 8));
    if (type === extension.bitmaps && length >= 4) found.bitmaps = bytes.readUInt32BE(body);
    at = body + Math.ceil(length / 8) * 8;
  }
  return found;
}
