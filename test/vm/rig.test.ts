import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qemuImgInfo } from '../rig/qemu-img.ts';
import { dyingAgent, healthyAgent, hungAgent, oversizedAgent } from '../rig/agent-scripts.ts';
import { findLeftovers } from '../rig/leftovers.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { windowsDouble } from '../rig/windows-agent.ts';

const removalMs = 20_000;

async function waitUntilGone(directory: string): Promise<string[]> {
  const deadline = performance.now() + removalMs;
  let left = findLeftovers(directory);
  while (left.length > 0 && performance.now() < deadline) {
    await sleep(200);
    left = findLeftovers(directory);
  }
  return left;
}

/** A rig that belongs to another process, which a test can kill. */
interface Owned {
  readonly owner: ChildProcess;
  readonly directory: string;
}

async function startOwned(...args: string[]): Promise<Owned> {
  const owner = spawn(process.execPath, ['--import', 'tsx', 'test/rig/main.ts', 'up', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  const up = new Promise<void>((resolve, reject) => {
    owner.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
      if (errors.includes('guests are up')) resolve();
    });
    owner.once('exit', () => reject(new Error(`the rig's owner ended early: ${errors}`)));
  });
  const [uri] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string];
  await up;
  return { owner, directory: path.dirname(path.dirname(uri.replace(/^.*socket=/, ''))) };
}

/** What a run of the rig must not change: the machine's own libvirt, its cgroups, its loop devices. */
function machineState(): string[] {
  const places = ['/etc/libvirt', '/var/lib/libvirt', '/var/log/libvirt', '/var/cache/libvirt', '/run/libvirt', '/etc/apparmor.d/libvirt'];
  const list = (place: string): string[] =>
    existsSync(place) ? readdirSync(place, { recursive: true, encoding: 'utf8' }).map((name) => path.join(place, name)) : [];
  const cgroups = existsSync('/sys/fs/cgroup') ? readdirSync('/sys/fs/cgroup').filter((name) => name.startsWith('machine')) : [];
  return [...places.flatMap(list), ...cgroups].sort();
}

describe('what it leaves behind', () => {
  it('nothing when it is disposed of, and the machine’s own libvirt as it was', async () => {
    const before = machineState();
    const rig = await startRig();
    const guest = await rig.boot({ name: 'g', disks: [{ block: true, format: 'raw' }] });
    expect(findLeftovers(rig.hypervisor.directory).length).toBeGreaterThan(4);
    expect(await guest.qemuPid()).toBeGreaterThan(0);
    expect(machineState()).toEqual(before);
    await rig.dispose();
    expect(findLeftovers(rig.hypervisor.directory)).toEqual([]);
    expect(machineState()).toEqual(before);
  });

  it.each(['SIGKILL', 'SIGINT', 'SIGTERM'] as const)('nothing after %s of its owner', async (signal) => {
    const { owner, directory } = await startOwned('--guests', '1', '--block', '--format', 'raw');
    const there = findLeftovers(directory).join('\n');
    for (const kind of [/qemu-system/, /libvirtd/, /loop device/, /directory/]) expect(there).toMatch(kind);
    owner.kill(signal);
    expect(await waitUntilGone(directory)).toEqual([]);
  });

  it('nothing after the next start, when its supervisor was killed with it', async () => {
    const { owner, directory } = await startOwned('--guests', '1', '--block', '--format', 'raw');
    const supervisor = findLeftovers(directory).find((line) => line.includes('supervise.sh run'));
    process.kill(Number(/\d+/.exec(supervisor ?? '')?.[0]), 'SIGKILL');
    owner.kill('SIGKILL');
    await sleep(1000);
    expect(findLeftovers(directory).join('\n')).toMatch(/qemu-system/);
    await using rig = await startRig();
    expect(findLeftovers(directory)).toEqual([]);
    expect(rig.hypervisor.directory).not.toBe(directory);
  });
});

describe('a folder in which no guest could start', () => {
  it('is refused in words: one that QEMU’s user cannot enter, one whose sockets would have too long a name', async () => {
    const closed = await mkdtemp('/var/tmp/vt-closed-');
    await expect(startRig({ base: closed })).rejects.toMatchObject({ code: 'config', message: expect.stringContaining(closed) as string });
    await rm(closed, { recursive: true });
    await expect(startRig({ base: `/var/tmp/${'long'.repeat(20)}` })).rejects.toMatchObject({ code: 'config' });
  });
});

describe('rigs side by side', () => {
  it('do not meet: same guest name, own daemons, own ends', async () => {
    await using one = await startRig();
    const two = await startRig();
    const [first, second] = await Promise.all([one.boot({ name: 'same' }), two.boot({ name: 'same' })]);
    expect(first.uuid).not.toBe(second.uuid);
    expect(await first.virsh('list', '--all', '--uuid')).toBe(`${first.uuid}\n`);
    expect(await second.virsh('list', '--all', '--uuid')).toBe(`${second.uuid}\n`);
    await two.hypervisor.killDaemon();
    expect((await first.virsh('domstate', first.uuid)).trim()).toBe('running');
    await two.dispose();
    expect(findLeftovers(two.hypervisor.directory)).toEqual([]);
    expect(await first.run('echo here')).toEqual({ status: 0, output: 'here\n' });
  });
});

describe('in one rig', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.dispose());

  it('commands run in a guest whose file systems are frozen by its real agent', async () => {
    const guest = await rig.boot({ name: 'frozen', disks: [{}, { bus: 'scsi', filesystem: 'xfs' }] });
    expect(await guest.agent('guest-fsfreeze-freeze')).toBe(2);
    const write = guest.run('echo late >/mnt/vda/late; echo late >/mnt/sda/late; echo written', 60_000);
    expect(await guest.run('echo late >/mnt/sda/other', 2000)).toEqual({ status: null, output: '' });
    expect(await guest.run('echo beside')).toEqual({ status: 0, output: 'beside\n' });
    expect(await guest.agent('guest-fsfreeze-thaw')).toBe(2);
    expect(await write).toEqual({ status: 0, output: 'written\n' });
    expect(await guest.run('cat /nowhere')).toEqual({ status: 1, output: "cat: can't open '/nowhere': No such file or directory\n" });
    await guest.remove();
  });

  it('makes every kind of disk, and the guest mounts each', async () => {
    const guest = await rig.boot({
      name: 'disks',
      machine: 'pc',
      disks: [
        { filesystem: 'ext4', backing: true },
        { filesystem: 'xfs', bus: 'scsi', format: 'raw' },
        { filesystem: 'btrfs', internalSnapshot: 'before' },
        { filesystem: 'vfat', bus: 'ide', discard: null },
        { filesystem: 'ext4', block: true, format: 'raw' },
        { filesystem: 'ext4', preallocation: 'falloc', sizeBytes: 64 * 2 ** 20 },
        { filesystem: null },
        { cdrom: 'empty', bus: 'ide' },
      ],
    });
    const mounts = await guest.runChecked('mount');
    for (const [target, type] of Object.entries({ vda: 'ext4', sda: 'xfs', vdb: 'btrfs', hda: 'vfat', vdc: 'ext4', vdd: 'ext4' })) {
      expect(mounts).toContain(` on /mnt/${target} type ${type} `);
    }
    expect(await qemuImgInfo(guest.disk('vda'))).toMatchObject({ 'full-backing-filename': guest.disk('vda').backingFile });
    expect(await qemuImgInfo(guest.disk('vdb'))).toMatchObject({ snapshots: [{ name: 'before' }] });
    expect((await qemuImgInfo(guest.disk('vdd')))['actual-size']).toBeGreaterThan(64 * 2 ** 20);
    expect(guest.disk('vdc').source).toMatch(/^\/dev\/loop\d+$/);
    await guest.remove();
  });

  it('its daemon can be stopped, killed, paused and started again, and its guests go on', async () => {
    const guest = await rig.boot({ name: 'daemon' });
    const pid = await guest.qemuPid();
    await rig.hypervisor.pauseDaemon();
    await expect(guest.connection.run(['list'], { timeoutMs: 1500 })).rejects.toMatchObject({ code: 'connect-timeout' });
    await rig.hypervisor.resumeDaemon();
    expect((await guest.virsh('domstate', guest.uuid)).trim()).toBe('running');
    await rig.hypervisor.killDaemon();
    await expect(guest.virsh('list')).rejects.toMatchObject({ code: 'connect-failed' });
    await rig.hypervisor.startDaemon();
    await rig.hypervisor.restartDaemon();
    await guest.waitForAgent(10_000);
    expect(await guest.qemuPid()).toBe(pid);
    await guest.remove();
  });

  it('a scripted agent answers real virsh, int64 exact, and is told what came', async () => {
    const { guest, agent } = await rig.bootScripted({ name: 'scripted' }, healthyAgent());
    const sync = await guest.virsh('qemu-agent-command', guest.uuid, '{"execute":"guest-sync","arguments":{"id":-9223372036854775808}}');
    expect(sync.trim()).toBe('{"return":-9223372036854775808}');
    expect(await guest.agent('guest-fsfreeze-freeze')).toBe(1);
    await expect(guest.agent('guest-fstrim')).rejects.toMatchObject({
      code: 'agent-frozen',
    });
    expect(await guest.agent('guest-fsfreeze-thaw')).toBe(1);
    await expect(guest.agent('guest-nope')).rejects.toMatchObject({
      code: 'agent-unsupported',
    });
    const commands = agent.received.map((one) => one.command).filter((name) => name !== 'guest-sync');
    expect(commands).toEqual(['guest-fsfreeze-freeze', 'guest-fstrim', 'guest-fsfreeze-thaw', 'guest-nope']);
    await guest.remove();
  });

  it('an agent dies in mid-command, and comes back', async () => {
    const { guest } = await rig.bootScripted({ name: 'dying' }, dyingAgent('guest-fstrim', 1500));
    await expect(guest.agent('guest-fstrim')).rejects.toMatchObject({
      code: 'agent-died',
    });
    expect(await guest.isAgentConnected()).toBe(false);
    await guest.waitForAgent(10_000);
    expect(await guest.agent('guest-ping')).toEqual({});
    await guest.remove();
  });

  it('an agent hangs and stays connected; one sends more than libvirt takes', async () => {
    const hung = await rig.bootScripted({ name: 'hung' }, hungAgent());
    await expect(hung.guest.agent('guest-fstrim')).rejects.toMatchObject({
      code: 'agent-silent',
    });
    expect(await hung.guest.isAgentConnected()).toBe(true);
    const big = await rig.bootScripted({ name: 'big' }, oversizedAgent());
    await expect(big.guest.agent('guest-fstrim')).rejects.toThrow(/10485760/);
    await Promise.all([hung.guest.remove(), big.guest.remove()]);
  });

  it('the Windows double says that it is Windows, and thaws late with an error', async () => {
    const { guest } = await rig.bootScripted({ name: 'windows' }, windowsDouble({ trimMs: 100, freezeMs: 100 }));
    expect(await guest.agent('guest-get-osinfo')).toMatchObject({ id: 'mswindows' });
    expect(await guest.agent('guest-fsfreeze-freeze')).toBe(3);
    await sleep(10_500);
    await expect(guest.agent('guest-fsfreeze-thaw')).rejects.toThrow(/limited up to 10 seconds/);
    await guest.remove();
  });

  it('a whole Debian runs its package’s agent under systemd', async () => {
    const guest = await rig.bootDebian({ name: 'debian', disks: [{ bus: 'scsi', filesystem: 'xfs' }] });
    expect((await guest.runChecked('systemctl is-active qemu-guest-agent')).trim()).toBe('active');
    expect(await guest.agent('guest-fsfreeze-freeze')).toBe(2);
    expect(await guest.run('echo x >/root/x', 2000)).toEqual({ status: null, output: '' });
    expect(await guest.agent('guest-fsfreeze-thaw')).toBe(2);
    expect(await guest.run('cat /etc/debian_version')).toMatchObject({ status: 0, output: expect.stringMatching(/^12\./) as string });
    await guest.remove();
  });
});
