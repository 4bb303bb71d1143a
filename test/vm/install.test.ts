import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ResultPromise } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attachChannel, channelFacts, detachChannel, readXmls, restoreXml } from '../../host/install/channel.ts';
import { agentStatus, installResult, type InstallResult } from '../../host/install/schema.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { addDevice, defineAppliance, Terminal } from './install-guests.ts';

let rig: Rig;
let cli: Cli;
beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri, { VIRT_TRIM_GUEST_DIR: path.resolve('guest') });
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

async function inactiveXml(guest: Guest): Promise<string> {
  return guest.virsh('dumpxml', guest.uuid, '--inactive', '--security-info');
}

function dropChannels(domain: { getElementsByTagName(name: string): ArrayLike<{ parentNode: unknown }> }): void {
  for (const element of Array.from(domain.getElementsByTagName('channel')))
    (element.parentNode as { removeChild(child: unknown): void }).removeChild(element);
}

/** Waits until a running `agent install` prints the line to type. */
async function lineToType(child: ResultPromise<never>): Promise<string> {
  let seen = '';
  return new Promise((resolve, reject) => {
    const stderr = (child as unknown as { stderr: NodeJS.ReadableStream }).stderr;
    stderr.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
      const line = /^ {2}(until .*)$/m.exec(seen)?.[1];
      if (line !== undefined) resolve(line);
    });
    void (child as unknown as Promise<{ stdout: string }>).then(({ stdout }) => reject(new Error(`it ended: ${seen}${stdout}`)));
  });
}

function isosBeside(guest: Guest): Promise<string[]> {
  return readdir(path.dirname(guest.disk('vda').file ?? '')).then((names) => names.filter((name) => name.endsWith('.iso')));
}

describe('the channel', () => {
  it('goes into a running domain and comes out of it, and both XMLs are what they were', async () => {
    const guest = await rig.define({ name: 'live', agent: { kind: 'none' }, channel: false });
    await guest.boot(180_000);
    await using work = { directory: await mkdtemp(path.join(tmpdir(), 'vt-install-')), [Symbol.asyncDispose]: async () => undefined };
    const before = await readXmls(guest.connection, guest.uuid, true);
    expect(channelFacts(before)).toMatchObject({ live: { present: false, hotplug: true }, persistent: { present: false } });
    await attachChannel(guest.connection, guest.uuid, 'config', work.directory);
    await attachChannel(guest.connection, guest.uuid, 'live', work.directory);
    // Evidence from inside: the guest's kernel sees the port.
    expect(await guest.runChecked('sleep 1; cat /sys/class/virtio-ports/*/name')).toContain('org.qemu.guest_agent.0');
    await detachChannel(guest.connection, guest.uuid, 'live', work.directory);
    await detachChannel(guest.connection, guest.uuid, 'config', work.directory);
    const after = await readXmls(guest.connection, guest.uuid, true);
    expect(after).toEqual(before);
    expect(await guest.runChecked('sleep 1; cat /sys/class/virtio-ports/*/name')).not.toContain('org.qemu.guest_agent.0');
    await rm(work.directory, { recursive: true });
    await guest.remove();
  });

  it('goes into a domain that is off, with the controller that it needs; putting the kept XML back takes both away', async () => {
    const guest = await rig.define({ name: 'off', agent: { kind: 'none' }, channel: false, edit: dropChannels });
    const before = await inactiveXml(guest);
    expect(before).not.toContain('virtio-serial');
    await attachChannel(guest.connection, guest.uuid, 'config', tmpdir());
    expect(await inactiveXml(guest)).toContain('org.qemu.guest_agent.0');
    await restoreXml(guest.connection, before, tmpdir());
    expect(await inactiveXml(guest)).toBe(before);
    await guest.remove();
  });

  it('needs a cold start where the running machine has no controller; status notices when it has happened', async () => {
    const guest = await rig.define({ name: 'cold', agent: { kind: 'none' }, channel: false, edit: dropChannels });
    await guest.start();
    const first = await cli.json('agent', 'install', 'cold', '--via', 'iso');
    expect(installResult.parse(first.envelope.domains[0])).toMatchObject({ status: 'pending', code: 'needs-cold-start' });
    expect(first.result.exitCode).not.toBe(0);
    const status = async () => agentStatus.parse((await cli.json('agent', 'status', 'cold')).envelope.domains[0]);
    expect((await status()).channel).toMatchObject({ live: false, persistent: true, needsColdStart: true });
    await guest.virsh('destroy', guest.uuid);
    await guest.start();
    expect((await status()).channel).toMatchObject({ live: true, persistent: true, needsColdStart: false });
    await guest.remove();
  });
});

describe('an appliance with nothing but a console', () => {
  let guest: Guest;
  let terminal: Terminal;
  let before: string;
  let filesBefore: string;
  const listFiles = () => guest.runChecked('find /bin /etc /usr /var /sbin -type f -exec md5sum {} + | sort -k2');
  beforeAll(async () => {
    const defined = await defineAppliance(rig.hypervisor, { name: 'console' });
    guest = defined.guest;
    await guest.start();
    await guest.waitForBoot(120_000);
    terminal = await Terminal.open(defined.terminal);
    before = await inactiveXml(guest);
    filesBefore = await listFiles();
  });

  it('is as it was after an install that was killed, once recover has run; a second one at the same time is told to wait', async () => {
    const child = cli.start('agent', 'install', 'console', '--via', 'iso');
    await lineToType(child as never);
    expect(await inactiveXml(guest)).not.toBe(before);
    expect(await isosBeside(guest)).toHaveLength(1);
    const second = await cli.run('agent', 'install', 'console', '--via', 'iso');
    expect(second.exitCode).toBe(75);
    expect(second.stdout).toMatch(/process \d+ is at an agent install/);
    child.kill('SIGKILL');
    await child;
    const { envelope } = await cli.json('agent', 'status', 'console');
    expect(agentStatus.parse(envelope.domains[0]).interrupted).toMatch(/was interrupted .*virt-trim recover/);
    expect((await cli.run('recover')).stdout).toMatch(
      /console: agent install \(iso\) was interrupted .*XML and devices are as they were; if the line was typed/,
    );
    expect(await inactiveXml(guest)).toBe(before);
    expect(await guest.virsh('dumpxml', guest.uuid)).not.toContain('org.qemu.guest_agent.0');
    expect(await guest.virsh('domblklist', guest.uuid)).not.toContain('.iso');
    expect(await isosBeside(guest)).toEqual([]);
  });

  it('puts everything back when it is interrupted', async () => {
    const child = cli.start('agent', 'install', 'console', '--via', 'iso');
    await lineToType(child as never);
    child.kill('SIGINT');
    expect((await child).exitCode).toBe(130);
    expect(await inactiveXml(guest)).toBe(before);
    expect(await isosBeside(guest)).toEqual([]);
    expect(existsSync(path.join(cli.stateDirectory, 'installs', guest.uuid))).toBe(false);
  });

  it('gets our agent by the one line that is typed, and it is proven', async () => {
    const child = cli.start('--json', 'agent', 'install', 'console', '--via', 'iso', '--timeout', '2m');
    terminal.type(await lineToType(child as never));
    const { exitCode, stdout } = await child;
    const result: InstallResult = installResult.parse((JSON.parse(stdout) as { domains: unknown[] }).domains[0]);
    expect(result).toMatchObject({
      status: 'ok',
      via: 'iso',
      agent: 'virt-trim',
      proof: { kind: 'virt-trim', frozenCount: 1, thawedCount: 1, trim: 'ok' },
    });
    expect(exitCode).toBe(0);
    expect(await isosBeside(guest)).toEqual([]);
    expect(await guest.virsh('domblklist', guest.uuid)).not.toContain('.iso');
    const again = await cli.json('agent', 'install', 'console');
    expect(again.envelope.domains[0]).toMatchObject({ status: 'ok', code: 'present' });
    expect(again.result.exitCode).toBe(0);
  });

  it('can be trimmed and quiesced then, also after a restart', async () => {
    await guest.runChecked('dd if=/dev/urandom of=/junk bs=1M count=32 2>/dev/null; sync; rm /junk; sync');
    for (const round of ['installed', 'restarted']) {
      const trim = await cli.run('trim', 'console');
      expect(trim.exitCode, `${round}: ${trim.stdout}${trim.stderr}`).toBe(0);
      const quiesce = await cli.run('quiesce', 'console', '--', 'true');
      expect(quiesce.exitCode, `${round}: ${quiesce.stderr}`).toBe(0);
      if (round === 'restarted') continue;
      await guest.runChecked('sync');
      await guest.destroy();
      await guest.start();
      await guest.waitForBoot(120_000);
      await guest.waitForAgent(120_000);
    }
  });

  it('is as it was when the agent has been removed', async () => {
    terminal[Symbol.dispose]();
    terminal = await Terminal.open(rig.hypervisor.path('channels', `${guest.uuid.slice(0, 8)}.tty`));
    const child = cli.start('agent', 'remove', 'console', '--via', 'iso', '--timeout', '2m');
    terminal.type(await lineToType(child as never));
    const { exitCode, stdout, stderr } = await child;
    expect(exitCode, stdout + stderr).toBe(0);
    await guest.runChecked('while [ -e /var/lib/virt-trim ]; do sleep 1; done');
    expect(await listFiles()).toBe(filesBefore);
    expect(await inactiveXml(guest)).toBe(before);
    const second = await cli.run('agent', 'remove', 'console');
    expect(second.stdout).toContain('virt-trim has installed nothing in it');
  });
});

/** libvirt leaves a q35 machine one root port to plug something into, or a few: disks take them. */
async function takeFreeSlots(guest: Guest): Promise<void> {
  for (const letter of 'bcdefghij') {
    const file = path.join(path.dirname(guest.disk('vda').file ?? ''), `filler-${letter}.raw`);
    await writeFile(file, Buffer.alloc(512), { mode: 0o666 });
    const attached = await guest
      .virsh('attach-disk', guest.uuid, file, `vd${letter}`, '--targetbus', 'virtio', '--driver', 'qemu', '--subdriver', 'raw', '--live')
      .then(() => true)
      .catch(() => false);
    if (!attached) return;
  }
  throw new Error('this machine has no end of slots');
}

describe('agent status', () => {
  it('says who has an agent, which version, which defects, and by which way the others could get one', async () => {
    const [none, connected] = await rig.bootAll([
      {
        name: 's-none',
        agent: { kind: 'none' },
        channel: false,
        edit: (domain) => addDevice(domain, 'controller', { type: 'usb', model: 'none' }),
      },
      { name: 's-ga', agent: { kind: 'qemu-ga' } },
      { name: 's-unconnected', agent: { kind: 'none' } },
    ]);
    const { envelope } = await cli.json('agent', 'status');
    const byName = new Map(envelope.domains.map((each) => agentStatus.parse(each)).map((status) => [status.name, status]));
    expect(byName.get('s-none')?.channel).toMatchObject({ live: false, persistent: false });
    expect(byName.get('s-unconnected')?.channel).toMatchObject({ live: true, connected: false });
    expect(byName.get('s-ga')?.agent).toMatchObject({ answering: true, kind: 'qemu-ga' });
    expect(byName.get('s-ga')?.defects.map(({ id }) => id)).toContain('loop-mount-deadlock');
    expect(byName.get('s-none')?.ways.find(({ way }) => way === 'iso')?.possible).toBe(true);
    expect(byName.get('s-none')?.ways.find(({ way }) => way === 'offline')?.reason).toBe('the domain is not off');
    const dry = await cli.run('agent', 'install', 's-none', '--ssh', 'root@192.0.2.1', '--dry-run');
    expect(dry.exitCode).toBe(0);
    expect(dry.stdout).toContain('over ssh to root@192.0.2.1');
    expect(connected?.name).toBe('s-ga');
    await takeFreeSlots(none as Guest);
    const before = await inactiveXml(none as Guest);
    const full = await cli.json('agent', 'install', 's-none', '--via', 'iso', '--timeout', '10s');
    const refused = installResult.parse(full.envelope.domains[0]);
    expect(refused).toMatchObject({ status: 'failed', code: 'refused' });
    expect(refused.reason).toMatch(
      /no ISO can be shown to the running machine \(.*\); it needs a CD drive or a free slot; everything is as it was/,
    );
    expect(await inactiveXml(none as Guest)).toBe(before);
    expect(await isosBeside(none as Guest)).toEqual([]);
  });
});
