import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { doctorResult, type DoctorResult } from '../../host/doctor/schema.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// Host filesystems that share blocks between files: real XFS and btrfs on loop devices. No guest is booted.

const run = promisify(execFile);
let directory = '';
let rig: Rig;
let cli: Cli;
const filesystems = ['xfs', 'btrfs'] as const;

const at = (...names: string[]): string => path.join(directory, ...names);

async function free(mountpoint: string): Promise<number> {
  await run('sync', ['-f', mountpoint]);
  const facts = await statfs(mountpoint);
  return facts.bfree * facts.bsize;
}

async function define(name: string, image: string): Promise<void> {
  const xml = at(`${name}.xml`);
  await writeFile(
    xml,
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/>
      <source file='${image}'/><target dev='vda' bus='virtio'/></disk>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>`,
  );
  await run('virsh', ['-q', '-c', rig.uri, 'define', xml]);
}

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-storage-'));
  for (const type of filesystems) {
    await writeFile(at(`${type}.img`), '');
    await truncate(at(`${type}.img`), 600 * 1024 ** 2);
    await run(`mkfs.${type}`, ['-q', at(`${type}.img`)]);
    await mkdir(at(type));
    await run('mount', ['-o', 'loop', at(`${type}.img`), at(type)]);
  }
  await run('btrfs', ['-q', 'subvolume', 'create', at('btrfs', 'images')]);
  await mkdir(at('xfs', 'images'));
  rig = await startRig();
  cli = await Cli.create(rig.uri);
});

afterAll(async () => {
  await rig?.dispose();
  await cli?.[Symbol.asyncDispose]();
  for (const type of filesystems) await run('umount', [at(type)]).catch(() => undefined);
  await rm(directory, { recursive: true, force: true });
});

async function examine(name: string): Promise<DoctorResult> {
  return doctorResult.parse((await cli.json('doctor', '--no-agent', name)).envelope.domains[0]);
}

const copies: Readonly<Record<(typeof filesystems)[number], (image: string) => Promise<unknown>>> = {
  xfs: async (image) => run('cp', ['--reflink=always', image, `${image}.copy`]),
  btrfs: async () => run('btrfs', ['-q', 'subvolume', 'snapshot', '-r', at('btrfs', 'images'), at('btrfs', 'snapshot')]),
};

describe.each(filesystems)('%s', (type) => {
  test('a copy on the host that shares blocks: the file shrinks, the filesystem gets nothing, and doctor says so before', async () => {
    const image = at(type, 'images', 'disk.raw');
    await run('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', 'count=64', 'status=none', 'conv=fsync']);
    await truncate(image, 128 * 1024 ** 2);
    await define(type, image);
    expect((await examine(type)).findings.filter((finding) => finding.rule === 'host-snapshots')).toEqual([]);

    await copies[type](image);
    await run('sync', ['-f', at(type)]);
    const finding = (await examine(type)).findings.find((one) => one.rule === 'host-snapshots');
    expect(finding).toMatchObject({ verdict: 'warning', evidence: 'filefrag: extents are marked shared' });

    const before = await free(at(type));
    await run('fallocate', ['--punch-hole', '--offset', '0', '--length', '64MiB', image]);
    const { stdout } = await run('stat', ['--format=%b', image]);
    expect(Number(stdout) * 512).toBeLessThan(2 * 1024 ** 2);
    expect((await free(at(type))) - before).toBeLessThan(4 * 1024 ** 2);
  });
});
