import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { domainSizes, storageSizes, type DomainSizes, type StorageSizes } from '../../host/sizes/schema.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// The published table of the four sizes, from real files of 40 GiB: on an ext4 of 150 GiB in a sparse file, where a preallocated image
// takes its space without a byte being written to the disk below.

const run = promisify(execFile);
const gib = 1024 ** 3;
let directory = '';
let mountpoint = '';
let rig: Rig;
let cli: Cli;

async function virtTrim(...args: string[]): Promise<{ exitStatus: number; domains: DomainSizes[]; storages: StorageSizes[] }> {
  const { envelope } = await cli.json(...args);
  const { exitStatus, domains, storages } = envelope as { exitStatus: number; domains: unknown[]; storages?: unknown[] };
  return {
    exitStatus,
    domains: domains.map((one) => domainSizes.parse(one)),
    storages: (storages ?? []).map((one) => storageSizes.parse(one)),
  };
}

const inMount = (name: string) => path.join(mountpoint, name);

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-sizes-'));
  mountpoint = path.join(directory, 'images');
  const backing = path.join(directory, 'ext4.img');
  await (await open(backing, 'w')).close();
  await truncate(backing, 150 * gib);
  await run('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=1,lazy_journal_init=1', backing]);
  await mkdir(mountpoint);
  await run('mount', ['-o', 'loop', backing, mountpoint]);
  rig = await startRig();
  cli = await Cli.create(rig.uri);
});

afterAll(async () => {
  await rig?.dispose();
  await cli?.[Symbol.asyncDispose]();
  await run('umount', [mountpoint]).catch(() => undefined);
  await rm(directory, { recursive: true, force: true });
});

test('the four sizes of a 40 GB image, as published', async () => {
  const created: [string, 'raw' | 'qcow2', string[]][] = [
    ['raw-preallocated', 'raw', ['-o', 'preallocation=falloc']],
    ['qcow2-on-demand', 'qcow2', []],
    ['qcow2-metadata', 'qcow2', ['-o', 'preallocation=metadata']],
    ['qcow2-all', 'qcow2', ['-o', 'preallocation=falloc']],
  ];
  for (const [name, format, options] of created) await run('qemu-img', ['create', '-q', '-f', format, ...options, inMount(name), '40G']);
  // qemu-img itself writes the first 4 KiB of a raw image, to learn what alignment the filesystem wants.
  await run('truncate', ['-s', '40G', inMount('raw-sparse')]);
  created.push(['raw-sparse', 'raw', []]);
  const sizes = new Map<string, (number | null)[]>();
  for (const format of ['raw', 'qcow2'] as const) {
    const files = created.filter((one) => one[1] === format).map(([name]) => inMount(name));
    const { domains } = await virtTrim('sizes', '--no-sparsify', '--format', format, ...files);
    for (const { name, disks } of domains) {
      const [disk] = disks;
      if (disk === undefined) throw new Error(`${name}: no sizes`);
      sizes.set(path.basename(name), [disk.capacityBytes, disk.lengthBytes, disk.allocationBytes, disk.commitmentBytes]);
    }
  }
  // As `ls -h` and `du -h` round: up.
  const rounded = (name: string) =>
    (sizes.get(name) ?? []).map((bytes) =>
      (bytes ?? -1) < gib ? `${Math.ceil((bytes ?? -1) / 1024)}K` : `${Math.ceil((bytes ?? -1) / gib)}G`,
    );
  expect(rounded('raw-sparse')).toEqual(['40G', '40G', '0K', '40G']);
  expect(sizes.get('raw-preallocated')).toEqual([40 * gib, 40 * gib, expect.closeTo(40 * gib, -6), expect.closeTo(40 * gib, -6)]);
  expect(rounded('qcow2-on-demand')).toEqual(['40G', '193K', '196K', '41G']);
  expect(rounded('qcow2-metadata').filter((_text, index) => index !== 2)).toEqual(['40G', '41G', '41G']);
  expect(sizes.get('qcow2-metadata')?.[2]).toBeCloseTo(6.5 * 1024 ** 2, -6); // 6.5 MB, less or more what ext4 takes for its extents
  expect(rounded('qcow2-all')).toEqual(['40G', '41G', '41G', '41G']);
  for (const [name] of created) await rm(inMount(name));
});

test('an overcommitted filesystem is named, with the guests that could fill it', async () => {
  const images: [string, string, string][] = [
    ['small', '10G', 'raw'],
    ['large', '200G', 'qcow2'],
    ['snapshotted', '5G', 'qcow2'],
  ];
  for (const [name, size, format] of images) {
    await run('qemu-img', ['create', '-q', '-f', format, inMount(name), size]);
    if (name === 'snapshotted') await run('qemu-img', ['snapshot', '-c', 's1', inMount(name)]);
    const xml = path.join(directory, `${name}.xml`);
    await writeFile(
      xml,
      `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'><driver name='qemu' type='${format}'/>
        <source file='${inMount(name)}'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
    );
    await run('virsh', ['-q', '-c', rig.uri, 'define', xml]);
  }
  const { domains, storages, exitStatus } = await virtTrim('sizes');
  expect(exitStatus).toBe(0);
  expect(storages).toHaveLength(1);
  expect(storages[0]).toMatchObject({ name: mountpoint, type: 'ext4', images: 3, unbounded: ['snapshotted'] });
  expect(storages[0]?.overcommittedBytes).toBeGreaterThan(50 * gib);
  expect(storages[0]?.guests).toMatchObject([
    { name: 'large', fillsAlone: true },
    { name: 'small', fillsAlone: false },
  ]);
  const snapshotted = domains.find((domain) => domain.name === 'snapshotted');
  expect(snapshotted?.disks[0]).toMatchObject({
    commitmentBytes: null,
    unbounded: true,
    reason: 'unbounded: 1 internal snapshot keep their own clusters',
  });
});
