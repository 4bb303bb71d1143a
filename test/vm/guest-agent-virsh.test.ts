import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentSpec } from '../../host/demo/tiny-guest.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { startRig, type Rig } from '../rig/rig.ts';

/** Two guests that differ in nothing but the agent, and every virsh command that talks to one. */
const program = resolve(import.meta.dirname, '../../guest/dist/virt-trim-agent-x86_64');

let rig: Rig;
let ours: Guest;
let theirs: Guest;

beforeAll(async () => {
  rig = await startRig();
  const specify = (name: string, agent: AgentSpec) => ({
    name,
    memoryMiB: 192,
    agent,
    disks: [
      { filesystem: 'ext4' as const, serial: 'SERIAL-1' },
      { bus: 'scsi' as const, filesystem: 'xfs' as const },
      { filesystem: 'btrfs' as const },
      { filesystem: 'vfat' as const },
      { filesystem: null },
    ],
    steps: [
      'mkdir -p /srv; mount --bind /mnt/vda /srv; hostname twin; ip link set lo up; ip addr add 192.0.2.7/24 dev lo',
      'mkdir -p /run/udev/data; echo E:ID_SERIAL=SERIAL-1 >/run/udev/data/b254:0',
    ],
    files: {
      '/etc/os-release': 'ID=tiny\nNAME="Tiny guest"\nPRETTY_NAME="Tiny guest 1 (one)"\nVERSION_ID="1"\n',
      '/etc/timezone': 'UTC\n',
    },
  });
  [ours, theirs] = (await rig.bootAll([specify('ours', { kind: 'virt-trim', program }), specify('theirs', { kind: 'qemu-ga' })])) as [
    Guest,
    Guest,
  ];
});

afterAll(() => rig?.dispose());

/** What differs between any two guests or two moments. */
function steady(text: string, guest: Guest): string {
  return text
    .replaceAll(guest.uuid, 'UUID')
    .replaceAll(guest.name, 'NAME')
    .replace(/^(fs\.\d+\.(?:used|total)-bytes\s*:\s*)\d+$/gm, '$1N')
    .replace(/^(load\.\w+\s*:\s*).*$/gm, '$1N')
    .replace(/[0-9a-f]{2}(?::[0-9a-f]{2}){5}/g, 'MAC');
}

/** stdout of the command, or what it failed with. */
async function say(guest: Guest, command: readonly string[]): Promise<string> {
  try {
    return steady(await guest.virsh(...command.map((word) => (word === '@' ? guest.uuid : word))), guest);
  } catch (thrown) {
    return `failed: ${steady(thrown instanceof Error ? thrown.message : String(thrown), guest)}`;
  }
}

const both = async (...command: string[]): Promise<[string, string]> => [await say(ours, command), await say(theirs, command)];

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
    for (const guest of [ours, theirs]) {
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
        '--diskspec',
        'vdd,snapshot=no',
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
    const [mine, other] = [await paths(ours), await paths(theirs)];
    expect(other.filter((path) => path !== '/srv')).toEqual(mine);
    expect(other).toContain('/srv');
  });

  test('guest-info: our own version and commands, and by the vendor command a host knows us', async () => {
    const info = async (guest: Guest) => (await guest.agent('guest-info')) as { version: string; supported_commands: { name: string }[] };
    const [mine, other] = [await info(ours), await info(theirs)];
    const names = (list: { name: string }[]): string[] => list.map((it) => it.name);
    expect(names(mine.supported_commands)).toContain('virt-trim-set-watchdog');
    expect(names(other.supported_commands)).not.toContain('virt-trim-set-watchdog');
    const ownOnly = names(mine.supported_commands).filter((name) => !names(other.supported_commands).includes(name));
    expect(ownOnly.filter((name) => name !== 'guest-get-load')).toEqual(['virt-trim-set-watchdog']);
  });

  test('domtime --set and set-user-password: CommandNotFound, which virsh passes on', async () => {
    expect(await say(ours, ['domtime', '@', '--now'])).toContain('failed');
    expect(await say(ours, ['set-user-password', '@', 'root', 'x'])).toContain('failed');
  });
});

test('twenty guest-sync through libvirt after the agent was killed and started: the channel recovers', async () => {
  await ours.run('/rig/agent stop; /rig/agent start');
  await ours.waitForAgent();
  for (let id = 0; id < 20; id++) expect(await ours.agent('guest-sync', { id })).toBe(id);
});
