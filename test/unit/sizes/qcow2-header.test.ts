import { describe, expect, test } from 'vitest';
import { parseQcow2Header } from '../../../host/sizes/qcow2-header.ts';

interface Shape {
  version?: number;
  clusterBits?: number;
  capacity?: bigint;
  snapshots?: number;
  incompatible?: bigint;
  backing?: { offset: bigint; length: number; name?: string };
  extensions?: { type: number; body: Buffer }[];
  refcountOrder?: number;
}

function header(shape: Shape): Buffer {
  const bytes = Buffer.alloc(4096);
  const version = shape.version ?? 3;
  bytes.writeUInt32BE(0x514649fb, 0);
  bytes.writeUInt32BE(version, 4);
  bytes.writeUInt32BE(shape.clusterBits ?? 16, 20);
  bytes.writeBigUInt64BE(shape.capacity ?? 1024n ** 3n, 24);
  bytes.writeUInt32BE(shape.snapshots ?? 0, 60);
  if (version === 3) {
    bytes.writeBigUInt64BE(shape.incompatible ?? 0n, 72);
    bytes.writeUInt32BE(shape.refcountOrder ?? 4, 96);
    bytes.writeUInt32BE(112, 100);
  }
  let at = version === 3 ? 112 : 72;
  for (const { type, body } of shape.extensions ?? []) {
    bytes.writeUInt32BE(type, at);
    bytes.writeUInt32BE(body.length, at + 4);
    body.copy(bytes, at + 8);
    at += 8 + Math.ceil(body.length / 8) * 8;
  }
  if (shape.backing !== undefined) {
    bytes.writeBigUInt64BE(shape.backing.offset, 8);
    bytes.writeUInt32BE(shape.backing.length, 16);
    bytes.write(shape.backing.name ?? '', Number(shape.backing.offset % 4000n));
  }
  return bytes;
}

describe('a qcow2 header', () => {
  test('of version 3, with what matters for a trim', () => {
    expect(parseQcow2Header(header({ incompatible: 16n, snapshots: 2 }))).toMatchObject({
      compat: '1.1',
      capacityBytes: 1024 ** 3,
      clusterBytes: 65_536,
      refcountBits: 16,
      extendedL2: true,
      internalSnapshots: 2,
      backingFile: null,
      hasDataFile: false,
    });
  });

  test('of version 2 has no feature bits', () => {
    expect(parseQcow2Header(header({ version: 2 }))).toMatchObject({ compat: '0.10', extendedL2: false, refcountBits: 16 });
  });

  test('names its data file, or has one without a name', () => {
    const named = header({ incompatible: 4n, extensions: [{ type: 0x44415441, body: Buffer.from('/etc/shadow') }] });
    expect(parseQcow2Header(named)).toMatchObject({ hasDataFile: true, dataFile: '/etc/shadow' });
    expect(parseQcow2Header(header({ incompatible: 4n }))).toMatchObject({ hasDataFile: true, dataFile: null });
  });

  test('cleans a backing name that would move the cursor', () => {
    const bytes = header({ backing: { offset: 1000n, length: 8, name: 'a\u001b[2Jb.q' } });
    expect(parseQcow2Header(bytes)?.backingFile).toBe('a\ufffd[2Jb.q');
  });

  test.each([
    { offset: 1000n, length: 0 },
    { offset: 4090n, length: 100 },
    { offset: 2n ** 60n, length: 10 },
    { offset: 1000n, length: 5000 },
  ])('a backing name that cannot be read does not pass for none: %o', (backing) => {
    expect(parseQcow2Header(header({ backing }))?.backingFile).toBe('(unreadable name)');
  });

  test.each<[string, Shape]>([
    ['version 4', { version: 4 }],
    ['clusters of 256 bytes', { clusterBits: 8 }],
    ['clusters of 4 MiB', { clusterBits: 22 }],
    ['a size beyond 2^53', { capacity: 2n ** 60n }],
    ['refcounts of 128 bits', { refcountOrder: 7 }],
  ])('refuses %s', (_what, shape) => {
    expect(parseQcow2Header(header(shape))).toBe(null);
  });

  test('survives an extension that claims to be longer than the file', () => {
    const bytes = header({});
    bytes.writeUInt32BE(0x44415441, 112);
    bytes.writeUInt32BE(0xffffffff, 116);
    expect(parseQcow2Header(bytes)).toMatchObject({ dataFile: null });
  });

  test('whatever the bytes are, it answers (2,000 mutations)', () => {
    const good = header({ incompatible: 4n, extensions: [{ type: 0x44415441, body: Buffer.from('/x') }] });
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
    for (let round = 0; round < 2000; round += 1) {
      const bytes = Buffer.from(good.subarray(0, 60 + random(4036)));
      for (let change = 0; change < 8; change += 1) bytes[random(Math.min(bytes.length, 160))] = random(256);
      const parsed = parseQcow2Header(bytes);
      if (parsed !== null) expect(Number.isSafeInteger(parsed.capacityBytes)).toBe(true);
    }
  });
});
