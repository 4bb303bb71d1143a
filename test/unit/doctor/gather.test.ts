import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseMachineTypes, parseVersions } from '../../../host/doctor/gather/host.ts';
import { parseQemuArguments } from '../../../host/doctor/gather/running-qemu.ts';
import { parseFilefrag } from '../../../host/doctor/gather/shared-blocks.ts';
import { parseZfsProperties, readBlockDevice } from '../../../host/doctor/gather/storage.ts';
import { nfsVersion } from '../../../host/doctor/rules/host-filesystem.ts';
import { mountOf, parseMountinfo } from '../../../host/trim/backend.ts';

const fixture = async (name: string): Promise<string> => readFile(path.join(import.meta.dirname, '../../fixtures/doctor', name), 'utf8');

describe('the running QEMU', () => {
  test('as libvirt 9.0 starts it: discard by alias, through the node', async () => {
    const { uuid, machine, discard } = parseQemuArguments(JSON.parse(await fixture('qemu-cmdline.json')));
    expect(uuid).toMatch(/^[0-9a-f-]{36}$/);
    expect(machine).toBe('pc-q35-7.2');
    expect(discard.get('virtio-disk0')).toBe('unmap');
  });

  test('as libvirt before 5.10 starts it', () => {
    const args = ['-machine', 'pc-i440fx-3.1,accel=kvm', '-drive', 'file=/a.img,format=qcow2,if=none,id=drive-virtio-disk0,discard=unmap'];
    const more = ['-drive', 'file=/b.img,if=none,id=drive-scsi0-0-0-0', '-uuid', 'u'];
    const { discard } = parseQemuArguments([...args, ...more]);
    expect([discard.get('virtio-disk0'), discard.get('scsi0-0-0-0'), discard.get('nosuch')]).toEqual(['unmap', null, undefined]);
  });

  test('garbage on a command line is no discovery', () => {
    expect(parseQemuArguments(['-blockdev', '{"node-name":', '-device', '{}', '-uuid']).discard.size).toBe(0);
  });
});

describe('the host', () => {
  test('its versions', async () => {
    expect(parseVersions(await fixture('version.txt'))).toEqual({
      libvirt: { major: 9, minor: 0, patch: 0 },
      qemu: { major: 7, minor: 2, patch: 22 },
    });
    expect(parseVersions('Running hypervisor: TEST 0.0.2\n')).toEqual({ libvirt: null, qemu: null });
  });

  test('its machine types, without aliases and those that are going away', async () => {
    expect(parseMachineTypes(await fixture('capabilities.xml')).get('x86_64')).toEqual([
      'pc-i440fx-7.2',
      'pc-q35-7.2',
      'pc-i440fx-3.1',
      'pc-i440fx-4.2',
    ]);
  });
});

describe('what lies below an image', () => {
  test.each([
    ['/srv/v3/a.qcow2', 'nfs', '3'],
    ['/srv/v41/a.qcow2', 'nfs4', '4.1'],
    ['/srv/v42/a.qcow2', 'nfs4', '4.2'],
    ['/srv/old/a.qcow2', 'nfs4', '4.1'],
    ['/srv/with blank/a', 'ceph', null],
    ['/tank/images/a', 'zfs', null],
    ['/srv/v3x/a', 'ext4', null],
  ])('%s: %s', async (file, type, version) => {
    const mount = mountOf(parseMountinfo(await fixture('mountinfo-nfs.txt')), file);
    expect(mount?.type).toBe(type);
    expect(nfsVersion(mount?.options ?? [])).toBe(version);
  });

  test('shared extents, with a blank in a name', async () => {
    const shared = parseFilefrag(await fixture('filefrag-xfs.txt'), ['/images/a', '/images/b c', '/images/alone', '/images/none']);
    expect(Object.fromEntries(shared)).toEqual({ '/images/a': true, '/images/b c': true, '/images/alone': false });
  });

  test("a zvol's reservation and snapshots", async () => {
    expect(parseZfsProperties(await fixture('zfs-get.txt'))).toEqual({ refreservationBytes: 43018878976, snapshotBytes: 1024 ** 3 });
    expect(parseZfsProperties('refreservation\tnone\n')).toEqual({ refreservationBytes: null, snapshotBytes: null });
  });
});

describe('a block device in sysfs', () => {
  let sysfs = '';
  beforeEach(async () => {
    sysfs = await mkdtemp(path.join(tmpdir(), 'virt-trim-sysfs-'));
  });
  afterEach(async () => rm(sysfs, { recursive: true, force: true }));

  async function device(name: string, number: string, files: Record<string, string>, slaves: Record<string, string> = {}): Promise<void> {
    const directory = path.join(sysfs, 'devices', name);
    for (const [file, content] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(directory, file)), { recursive: true });
      await writeFile(path.join(directory, file), `${content}\n`);
    }
    for (const [slave, uuid] of Object.entries(slaves)) {
      await mkdir(path.join(directory, 'slaves', slave, 'dm'), { recursive: true });
      await writeFile(path.join(directory, 'slaves', slave, 'dm/uuid'), `${uuid}\n`);
    }
    await mkdir(path.join(sysfs, 'dev/block'), { recursive: true });
    await symlink(directory, path.join(sysfs, 'dev/block', number));
  }
  const queue = { 'queue/discard_max_bytes': '4294966784', 'queue/discard_granularity': '65536' };

  test.each<[string, string, Record<string, string>, Record<string, string>, string]>([
    ['a thin volume', 'dm-4', { 'dm/uuid': 'LVM-abc' }, { 'dm-2': 'LVM-def-tpool' }, 'lvm-thin'],
    ['a thick volume', 'dm-5', { 'dm/uuid': 'LVM-abc' }, { sda3: '' }, 'lvm-thick'],
    ['an LVM snapshot', 'dm-6', { 'dm/uuid': 'LVM-abc' }, { 'dm-1': 'LVM-x-real', 'dm-2': 'LVM-x-cow' }, 'lvm-snapshot'],
    ['LUKS', 'dm-7', { 'dm/uuid': 'CRYPT-LUKS2-abc-name' }, {}, 'crypt'],
    ['multipath', 'dm-8', { 'dm/uuid': 'mpath-3600' }, {}, 'multipath'],
    ['a zvol', 'zd16', {}, {}, 'zvol'],
    ['a loop device', 'loop3', {}, {}, 'loop'],
    ['a disk', 'sdb', {}, {}, 'disk'],
  ])('%s', async (_what, name, files, slaves, layer) => {
    await device(name, '253:4', { ...queue, ...files }, slaves);
    const rdev = 253 * 256 + 4;
    expect(await readBlockDevice(rdev, sysfs)).toMatchObject({ name, layer, discardMaxBytes: 4294966784, discardGranularityBytes: 65536 });
  });

  test('a partition has the queue of its disk', async () => {
    await device('sdc', '8:32', queue);
    await device('sdc/sdc1', '8:33', { partition: '1' });
    expect(await readBlockDevice(8 * 256 + 33, sysfs)).toMatchObject({ name: 'sdc', discardMaxBytes: 4294966784 });
  });

  test('one that is not there is unknown', async () => {
    expect(await readBlockDevice(1, sysfs)).toBe(null);
  });
});
