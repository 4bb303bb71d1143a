import { execa } from 'execa';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { bootTwins, isFrozen, say, sayBoth, type Twins } from './agent-twins.ts';

/** Two guests that differ in nothing but the agent, and every virsh command that talks to one. */
let rig: Rig;
let twins: Twins;

// No udev in a tiny guest: LVM makes the nodes by itself.
const lvm = '/usr/sbin/lvm';
const noUdev = "--config 'activation { udev_sync=0 udev_rules=0 }'";
const volumes = [
  `${lvm} vgcreate -q ${noUdev} vg /dev/vde; ${lvm} lvcreate -q ${noUdev} -n data -l 100%FREE vg; /usr/sbin/mke2fs -q -t ext4 /dev/mapper/vg-data`,
  'mkdir -p /lvm /luks; mount -t ext4 /dev/mapper/vg-data /lvm',
  'printf secret >/run/key; cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdf /run/key',
  'cryptsetup open --allow-discards --key-file /run/key /dev/vdf secret; /usr/sbin/mke2fs -q -t ext4 /dev/mapper/secret',
  'mount -t ext4 /dev/mapper/secret /luks',
];

beforeAll(async () => {
  rig = await startRig();
  twins = await bootTwins(rig, {
    memoryMiB: 256,
    disks: [
      { filesystem: 'ext4', serial: 'SERIAL-1' },
      { bus: 'scsi', filesystem: 'xfs' },
      { filesystem: 'btrfs' },
      { filesystem: 'vfat' },
      { filesystem: null },
      { filesystem: null, sizeBytes: 128 * 2 ** 20 },
      { filesystem: null, sizeBytes: 128 * 2 ** 20 },
    ],
    modules: ['dm_mod', 'dm_crypt', 'xts', 'ecb'],
    programs: [lvm, '/usr/sbin/cryptsetup', '/usr/sbin/mke2fs'],
    steps: [
      'mkdir -p /srv; mount --bind /mnt/vda /srv; hostname twin; ip link set lo up; ip addr add 192.0.2.7/24 dev lo',
      'mkdir -p /run/udev/data; echo E:ID_SERIAL=SERIAL-1 >/run/udev/data/b254:0',
      ...volumes,
    ],
    files: {
      '/etc/os-release': 'ID=tiny\nNAME="Tiny guest"\nPRETTY_NAME="Tiny guest 1 (one)"\nVERSION_ID="1"\n',
      '/etc/timezone': 'UTC\n',
    },
    // More slots than disks: PCI Express has none to plug one in later, unless it was there from the start.
    edit: (domain) => {
      const devices = domain.getElementsByTagName('devices')[0];
      for (const [index, model] of ['pcie-root', ...Array.from({ length: 12 }, () => 'pcie-root-port')].entries()) {
        const controller = domain.ownerDocument?.createElement('controller');
        if (controller === undefined || devices === undefined) throw new Error('no <devices>');
        for (const [name, value] of Object.entries({ type: 'pci', index: String(index), model })) controller.setAttribute(name, value);
        devices.appendChild(controller);
      }
    },
  });
});

afterAll(() => rig?.dispose());

const both = (...command: string[]): Promise<[string, string]> => sayBoth(twins, ...command);

describe('the same answer', () => {
  test.each([
    ['domfsinfo', '@'],
    ['domfsfreeze', '@'],
    ['domfsfreeze', '@'], // the second time
    ['domfsinfo', '@'], // while frozen
    ['domfsthaw', '@'],
    ['domfsthaw', '@'],
    ['domfsfreeze', '@', '--mountpoint', '/mnt/vda', '/nope'],
    ['domfsthaw', '@'],
    ['domfstrim', '@'],
    ['domfstrim', '@', '--minimum', '65536'],
    ['domhostname', '@', '--source', 'agent'],
    ['domifaddr', '@', '--source', 'agent'],
    ['guestinfo', '@', '--os'],
    ['guestinfo', '@', '--timezone'],
    ['guestinfo', '@', '--hostname'],
    ['guestinfo', '@', '--user'],
    ['guestinfo', '@', '--filesystem'],
    ['guestinfo', '@', '--disk'],
    ['guestinfo', '@', '--interface'],
    ['guestinfo', '@'],
    ['qemu-agent-command', '@', '{"execute":"guest-sync","arguments":{"id":9223372036854775807}}'],
    ['qemu-agent-command', '@', '{"execute":"guest-sync","arguments":{"id":-9223372036854775808}}'],
    ['qemu-agent-command', '@', '{"execute":"guest-fsfreeze-freeze-list","arguments":{"mountpoints":[1]}}'],
    ['qemu-agent-command', '@', '{"execute":"guest-fsfreeze-status"}'],
    ['qemu-agent-command', '@', '{"execute":"guest-fsfreeze-freeze"}'],
    ['qemu-agent-command', '@', '{"execute":"guest-fsfreeze-status"}'],
    ['qemu-agent-command', '@', '{"execute":"guest-fsfreeze-thaw"}'],
    ['qemu-agent-command', '@', '{"execute":"nope"}'],
    ['qemu-agent-command', '@', '{"execute":"guest-ping","arguments":{"x":1}}'],
  ])('%s %s %s %s', async (...command) => {
    const [mine, other] = await both(...command);
    expect(mine).toBe(other);
  });

  test('domtime: both tell the time', async () => {
    const [mine, other] = (await both('domtime', '@')).map((text) => Number(/\d+/.exec(text)?.[0]));
    expect(Math.abs((mine ?? 0) - (other ?? 1e9))).toBeLessThan(60);
  });

  test('snapshot-create-as --quiesce, and the guest writes on', async () => {
    for (const guest of [twins.ours, twins.theirs]) {
      await guest.virsh(
        'snapshot-create-as',
        guest.uuid,
        'q',
        '--disk-only',
        '--quiesce',
        '--diskspec',
        'vda,snapshot=external',
        '--diskspec',
        'sda,snapshot=no',
        '--diskspec',
        'vdb,snapshot=no',
        '--diskspec',
        'vdc,snapshot=no',
        ...['vdd', 'vde', 'vdf'].flatMap((disk) => ['--diskspec', `${disk},snapshot=no`]),
      );
      expect(await guest.virsh('snapshot-list', guest.uuid, '--name')).toContain('q');
      expect((await guest.run('touch /mnt/vda/after && sync', 20_000)).status).toBe(0);
    }
  });
});

describe('another answer, and why', () => {
  test('guest-fstrim: each filesystem once; qemu-ga trims a bind mount a second time', async () => {
    const paths = async (guest: Guest): Promise<string[]> => {
      const { paths: list } = (await guest.agent('guest-fstrim', { minimum: 0 }, 60)) as { paths: { path: string }[] };
      return list.map((it) => it.path);
    };
    const [mine, other] = [await paths(twins.ours), await paths(twins.theirs)];
    expect(other.filter((path) => path !== '/srv')).toEqual(mine);
    expect(other).toContain('/srv');
  });

  test('guest-info: our own version and commands, and by the vendor command a host knows us', async () => {
    const info = async (guest: Guest) => (await guest.agent('guest-info')) as { version: string; supported_commands: { name: string }[] };
    const [mine, other] = [await info(twins.ours), await info(twins.theirs)];
    const names = (list: { name: string }[]): string[] => list.map((it) => it.name);
    expect(names(mine.supported_commands)).toContain('virt-trim-set-watchdog');
    expect(names(other.supported_commands)).not.toContain('virt-trim-set-watchdog');
    const ownOnly = names(mine.supported_commands).filter((name) => !names(other.supported_commands).includes(name));
    expect(ownOnly.filter((name) => name !== 'guest-get-load')).toEqual(['virt-trim-set-watchdog']);
  });

  test('domtime --set and set-user-password: CommandNotFound, which virsh passes on', async () => {
    expect(await say(twins.ours, ['domtime', '@', '--now'])).toContain('failed');
    expect(await say(twins.ours, ['set-user-password', '@', 'root', 'x'])).toContain('failed');
  });
});

/** What both answer to a freeze or thaw, which `virsh domfsfreeze` keeps to itself with -q. */
async function counts(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown[]> {
  return [await twins.ours.agent(command, args, 60), await twins.theirs.agent(command, args, 60)];
}

describe('LVM and LUKS', () => {
  test('lie on the disks they lie on, freeze, thaw and are trimmed', async () => {
    const [info, other] = await both('domfsinfo', '@');
    expect(info).toBe(other);
    expect(info).toMatch(/^ \/lvm +dm-0 +ext4 +vde$/m);
    expect(info).toMatch(/^ \/luks +dm-1 +ext4 +vdf$/m);
    expect(await counts('guest-fsfreeze-freeze-list', { mountpoints: ['/lvm', '/luks'] })).toEqual([2, 2]);
    for (const guest of [twins.ours, twins.theirs]) {
      expect(await Promise.all(['/lvm', '/luks', '/mnt/vda'].map((path) => isFrozen(guest, path)))).toEqual([true, true, false]);
    }
    expect(await counts('guest-fsfreeze-thaw')).toEqual([2, 2]);
    for (const guest of [twins.ours, twins.theirs]) {
      // ext4 remembers what was trimmed.
      const junk = (path: string): string => `dd if=/dev/urandom of=${path}/junk bs=1M count=8 2>/dev/null; sync; rm ${path}/junk; sync`;
      await guest.runChecked(`${junk('/lvm')}; ${junk('/luks')}`, 60_000);
      const { paths } = (await guest.agent('guest-fstrim', { minimum: 0 }, 60)) as { paths: { path: string; trimmed?: number }[] };
      for (const path of ['/lvm', '/luks']) expect(paths.find((it) => it.path === path)?.trimmed).toBeGreaterThan(2 ** 20);
    }
  });
});

/** A disk in the empty slot, as `virsh attach-disk` on a running guest; the guest's kernel finds it by itself. */
async function plugIn(guest: Guest): Promise<void> {
  const file = rig.hypervisor.path('images', guest.uuid, 'plugged.qcow2');
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', file, '64M']);
  const xml = `${file}.xml`;
  await writeFile(
    xml,
    `<disk type="file" device="disk"><driver name="qemu" type="qcow2" discard="unmap"/><source file="${file}"/><target dev="vdg" bus="virtio"/></disk>`,
  );
  await guest.virsh('attach-device', guest.uuid, xml, '--live');
  await guest.runChecked('until [ -b /dev/vdg ]; do sleep 0.05; done', 60_000);
}

test('a disk that is plugged in while frozen: the thaw counts the same, and from then on it is one of the guest’s', async () => {
  expect(await counts('guest-fsfreeze-freeze')).toEqual([5, 5]);
  for (const guest of [twins.ours, twins.theirs]) await plugIn(guest);
  expect(await counts('guest-fsfreeze-thaw')).toEqual([5, 5]);
  const [disks, others] = await both('guestinfo', '@', '--disk');
  expect(disks).toBe(others);
  expect(disks).toContain('/dev/vdg');
  for (const guest of [twins.ours, twins.theirs]) {
    await guest.runChecked('/usr/sbin/mke2fs -q -t ext4 /dev/vdg; mkdir /plugged; mount -t ext4 /dev/vdg /plugged', 60_000);
  }
  const [info, other] = await both('domfsinfo', '@');
  expect(info).toBe(other);
  expect(info).toMatch(/^ \/plugged +vdg +ext4 +vdg$/m);
  expect(await counts('guest-fsfreeze-freeze')).toEqual([6, 6]);
  expect(await isFrozen(twins.ours, '/plugged')).toBe(true);
  expect(await counts('guest-fsfreeze-thaw')).toEqual([6, 6]);
});

test('a freeze by virt-trim sets its watchdog to the lease, and a renewal too', async () => {
  await using cli = await Cli.create(rig.uri);
  const { ours } = twins;
  // What it would go by after a crash: on the guest's tmpfs.
  const frozenFor = async (): Promise<number> => Number(/"seconds": ?(\d+)/.exec(await ours.runChecked('cat /run/*.frozen'))?.[1]);
  expect(await cli.run('freeze', '--lease', '77s', ours.name)).toMatchObject({ exitCode: 0 });
  expect(await frozenFor()).toBe(77);
  expect(await cli.run('lease', 'renew', '--lease', '123s', ours.name)).toMatchObject({ exitCode: 0 });
  expect(await frozenFor()).toBe(123);
  expect(await cli.run('thaw', ours.name)).toMatchObject({ exitCode: 0 });
  const { envelope } = await cli.json('list', '--probe');
  expect(envelope.domains).toContainEqual(
    expect.objectContaining({
      name: ours.name,
      agent: expect.objectContaining({ kind: 'virt-trim', answering: true }) as unknown,
      frozen: expect.objectContaining({ state: 'thawed' }) as unknown,
    }),
  );
});

test('twenty guest-sync through libvirt after the agent was killed and started: the channel recovers', async () => {
  await twins.ours.run('/rig/agent stop; /rig/agent start');
  await twins.ours.waitForAgent();
  for (let id = 0; id < 20; id++) expect(await twins.ours.agent('guest-sync', { id })).toBe(id);
});
