import { describe, expect, test } from 'vitest';
import { AgentUnderTest } from './agent-under-test.ts';
import { makeGuest } from './fake-sys.ts';

const disk = (slot: number, dev: string, serial?: string): unknown => ({
  'bus-type': 'virtio',
  bus: 0,
  target: 0,
  unit: 0,
  'pci-controller': { domain: 0, bus: 0, slot, function: 0 },
  dev,
  ...(serial === undefined ? {} : { serial }),
});

describe('guest-fstrim', () => {
  test('each filesystem once, the last mount first; what cannot says so', () => {
    const sys = makeGuest();
    const efi = sys.filesystems.get('254:2');
    if (efi !== undefined) efi.trimError = 25;
    const root = sys.filesystems.get('254:1');
    if (root !== undefined) root.trimError = 30;
    expect(new AgentUnderTest(sys).call('guest-fstrim', { minimum: 65536 }).return).toEqual({
      paths: [
        { path: '/boot/efi', error: 'trim not supported' },
        { path: '/srv data', trimmed: 4096, minimum: 65536 },
        { path: '/', error: 'failed to trim: Read-only file system' },
      ],
    });
    expect(sys.openCount).toBe(0);
  });

  test('a large ext4 is trimmed in pieces; one that is smaller than its device ends there; xfs is not cut', () => {
    const sys = makeGuest();
    sys.files.set('/sys/dev/block/254:1/size', String(20 * 2 ** 21)); // 20 GiB
    sys.files.set('/sys/dev/block/254:16/size', String(20 * 2 ** 21));
    new AgentUnderTest(sys).call('guest-fstrim');
    expect(sys.done).toEqual([
      'trim 254:1 0+8589934592',
      'trim 254:1 8589934592+8589934592',
      'trim 254:1 17179869184+end',
      'trim 254:16 0+end',
      'trim 254:2 0+end',
    ]);
  });

  test('a freeze that comes meanwhile does not wait for all pieces', () => {
    const sys = makeGuest();
    sys.files.set('/sys/dev/block/254:1/size', String(20 * 2 ** 21));
    const agent = new AgentUnderTest(sys);
    sys.holdWork = true;
    agent.ask('{"execute":"guest-fstrim"}');
    agent.ask('{"execute":"guest-fsfreeze-freeze"}');
    sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent).toContain('{"path": "/", "error": "failed to trim: Interrupted system call"}');
    expect(agent.sent).toContain('{"return": 2}');
    expect(sys.done.filter((it) => it.startsWith('trim'))).toEqual(['trim 254:1 0+8589934592']);
  });
});

test('guest-get-fsinfo', () => {
  const [efi, data, root] = new AgentUnderTest().call('guest-get-fsinfo').return as unknown[];
  expect(efi).toMatchObject({ mountpoint: '/boot/efi', name: 'vda2', type: 'vfat' });
  expect(data).toEqual({
    name: 'vdb',
    mountpoint: '/srv data',
    type: 'xfs',
    'used-bytes': 600 * 4096,
    'total-bytes': 950 * 4096,
    disk: [disk(5, '/dev/vdb', 'SN-1')],
  });
  expect(root).toMatchObject({ mountpoint: '/', disk: [disk(4, '/dev/vda1')] });
});

test('guest-get-disks: disks and partitions, each with what it stands on', () => {
  expect(new AgentUnderTest().call('guest-get-disks').return).toEqual([
    { name: '/dev/vdb', partition: false, dependencies: [], address: disk(5, '/dev/vdb', 'SN-1') },
    { name: '/dev/vda2', partition: true, dependencies: ['/dev/vda'] },
    { name: '/dev/vda1', partition: true, dependencies: ['/dev/vda'] },
    { name: '/dev/vda', partition: false, dependencies: [], address: disk(4, '/dev/vda') },
  ]);
});

test('a disk below device mapper and one on virtio-scsi', () => {
  const sys = makeGuest();
  const path = '/sys/devices/pci0000:00/0000:00:02.3/0000:03:00.0/virtio2/host6/target6:0:0/6:0:0:3/block/sda';
  sys.links.set('/sys/dev/block/253:0', '/sys/devices/virtual/block/dm-0');
  sys.directories.set('/sys/devices/virtual/block/dm-0/slaves', ['lsda']);
  sys.links.set('/sys/devices/virtual/block/dm-0/slaves/sda', path);
  sys.links.set('/sys/devices/pci0000:00/0000:00:02.3/driver', '../../../bus/pci/drivers/pcieport');
  sys.links.set('/sys/devices/pci0000:00/0000:00:02.3/0000:03:00.0/driver', '../../../bus/pci/drivers/virtio-pci');
  sys.files.set('/proc/self/mountinfo', '1 0 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n');
  expect(new AgentUnderTest(sys).call('guest-get-fsinfo').return).toEqual([
    {
      name: 'dm-0',
      mountpoint: '/',
      type: 'ext4',
      'used-bytes': 600 * 4096,
      'total-bytes': 950 * 4096,
      disk: [{ 'bus-type': 'scsi', bus: 0, target: 0, unit: 3, 'pci-controller': { domain: 0, bus: 3, slot: 0, function: 0 } }],
    },
  ]);
});

test('IDE and SATA: the place of the host among its siblings', () => {
  const sys = makeGuest();
  const ide = '/sys/devices/pci0000:00/0000:00:01.1';
  const path = `${ide}/ata2/host1/target1:0:1/1:0:1:0/block/sda`;
  sys.links.set('/sys/dev/block/8:0', path);
  sys.links.set(`${ide}/driver`, '../../../bus/pci/drivers/ata_piix');
  sys.directories.set(ide, ['data2', 'data1', '-vendor']);
  sys.files.set('/proc/self/mountinfo', '1 0 8:0 / / rw - ext4 /dev/sda rw\n');
  const answer = new AgentUnderTest(sys).call('guest-get-fsinfo').return as { disk: unknown[] }[];
  expect(answer[0]?.disk).toEqual([
    { 'bus-type': 'ide', bus: 1, target: 0, unit: 1, 'pci-controller': { domain: 0, bus: 0, slot: 1, function: 1 } },
  ]);
});

describe('who and where', () => {
  test('guest-get-osinfo, QEMU_GA own test file', () => {
    const sys = makeGuest();
    sys.environment.set('QGA_OS_RELEASE', '/os');
    sys.files.set(
      '/os',
      [
        'ID=qemu-ga-test',
        'NAME=QEMU-GA',
        'PRETTY_NAME="QEMU Guest Agent test"',
        'VERSION="Test 1"',
        'VERSION_ID=1',
        'VARIANT="Unit test \\"\\\'\\$\\`\\\\ and \\\\\\\\ etc."',
        'VARIANT_ID=unit-test',
      ].join('\n'),
    );
    expect(new AgentUnderTest(sys).call('guest-get-osinfo').return).toEqual({
      'kernel-release': '6.1.0',
      'kernel-version': '#1 SMP',
      machine: 'x86_64',
      id: 'qemu-ga-test',
      name: 'QEMU-GA',
      'pretty-name': 'QEMU Guest Agent test',
      version: 'Test 1',
      'version-id': '1',
      variant: 'Unit test "\'$`\\ and \\\\ etc.',
      'variant-id': 'unit-test',
    });
  });

  test('guest-get-users from utmp: each once, the earliest login', () => {
    const record = (type: number, user: string, seconds: number, micros: number): string => {
      const bytes = Buffer.alloc(384);
      bytes.writeInt16LE(type, 0);
      bytes.write(user, 44, 'latin1');
      bytes.writeInt32LE(seconds, 340);
      bytes.writeInt32LE(micros, 344);
      return bytes.toString('latin1');
    };
    const sys = makeGuest();
    sys.files.set(
      '/var/run/utmp',
      record(2, 'reboot', 1, 0) +
        record(7, 'root', 1_700_000_500, 250_000) +
        record(7, 'root', 1_700_000_400, 0) +
        record(7, 'anna', 1_700_000_600, 0),
    );
    expect(new AgentUnderTest(sys).call('guest-get-users').return).toEqual([
      { user: 'root', 'login-time': 1_700_000_400 },
      { user: 'anna', 'login-time': 1_700_000_600 },
    ]);
  });

  test('time, load, zone, interfaces', () => {
    const agent = new AgentUnderTest();
    expect(agent.ask('{"execute":"guest-get-time"}')).toBe('{"return": 1700000000123456000}\n');
    expect(agent.ask('{"execute":"guest-get-load"}')).toBe('{"return": {"load1m": 0.5, "load5m": 1.25, "load15m": 2}}\n');
    expect(agent.call('guest-get-timezone').return).toEqual({ zone: 'UTC', offset: 0 });
    expect(agent.call('guest-network-get-interfaces').return).toEqual([
      {
        name: 'eth0',
        'hardware-address': '52:54:00:00:00:01',
        'ip-addresses': [{ 'ip-address-type': 'ipv4', 'ip-address': '192.0.2.1', prefix: 24 }],
        statistics: {
          'rx-bytes': 10,
          'rx-packets': 1,
          'rx-errs': 0,
          'rx-dropped': 0,
          'tx-bytes': 20,
          'tx-packets': 2,
          'tx-errs': 0,
          'tx-dropped': 0,
        },
      },
    ]);
  });
});
