import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runChecked } from '../../host/demo/run-checked.ts';
import { installResult, type InstallResult } from '../../host/install/schema.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import {
  agentPackages,
  applianceEnvironment,
  newerAgentPackage,
  defineDebian,
  hostRelease,
  writeSshConfig,
  type DebianGuest,
  type DebianSpec,
} from './install-guests.ts';

// Full Debian guests under software emulation: boots take from 20 seconds to minutes, depending on what else the machine does.
const bootMs = 600_000;

let rig: Rig;
let cli: Cli;
let appliance: Record<string, string>;
beforeAll(async () => {
  rig = await startRig();
  appliance = await applianceEnvironment();
  cli = await Cli.create(rig.uri, { VIRT_TRIM_GUEST_DIR: path.resolve('guest'), ...appliance });
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

async function installed(...args: string[]): Promise<{ result: InstallResult; exitCode: number | undefined; text: string }> {
  const startedAt = performance.now();
  const { result, envelope } = await cli.json('agent', ...args);
  const parsed = installResult.parse(envelope.domains[0]);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  process.stderr.write(`  agent ${args.join(' ')}: ${parsed.status} ${parsed.code ?? ''} after ${seconds} s: ${parsed.reason ?? ''}\n`);
  return { result: parsed, exitCode: result.exitCode, text: `${result.stdout}${result.stderr}` };
}

/** libvirt writes the controllers of an XML that it has changed in an order of its own: they are compared sorted. */
async function inactiveXml({ guest }: DebianGuest): Promise<string> {
  const xml = await guest.virsh('dumpxml', guest.uuid, '--inactive', '--security-info');
  const controller = /<controller[^>]*?(?:\/>|[^/]>[\s\S]*?<\/controller>)/g;
  return `${[...xml.matchAll(controller)]
    .map(([text]) => text)
    .sort()
    .join('\n')}\n${xml.replaceAll(controller, '')}`;
}

async function boot({ guest }: DebianGuest): Promise<void> {
  await guest.start();
  await guest.waitForBoot(bootMs);
}

/** Off, with everything written. */
async function halt({ guest }: DebianGuest): Promise<void> {
  await guest.run('sync; systemctl poweroff', 60_000);
  for (let tries = 0; tries < 300 && /running/.test(await guest.virsh('domstate', guest.uuid)); tries += 1) await sleep(1000);
  expect(await guest.virsh('domstate', guest.uuid)).toContain('shut off');
}

/** What the issue asks for afterwards: `trim` and `quiesce` work, also after a restart of the guest. */
async function worksAlsoAfterRestart({ guest }: DebianGuest): Promise<void> {
  for (const round of ['installed', 'restarted']) {
    if (round === 'restarted') {
      const boot = await guest.runChecked('cat /proc/sys/kernel/random/boot_id');
      await guest.run('sync; systemctl reboot', 10_000);
      for (let tries = 0; tries < 1200; tries += 1) {
        const { status, output } = await guest.run('cat /proc/sys/kernel/random/boot_id', 20_000);
        if (status === 0 && output !== boot) break;
        await sleep(1000);
      }
      await guest.waitForAgent(bootMs);
    }
    const trim = await cli.run('trim', guest.name);
    expect(trim.exitCode, `${round}: ${trim.stdout}${trim.stderr}`).toBe(0);
    const quiesce = await cli.run('quiesce', guest.name, '--', 'true');
    expect(quiesce.exitCode, `${round}: ${quiesce.stderr}`).toBe(0);
    process.stderr.write(`  ${guest.name}, ${round}: trimmed and quiesced\n`);
  }
}

function define(spec: DebianSpec): Promise<DebianGuest> {
  return defineDebian(rig.hypervisor, spec);
}

/** A process by words of its command line. */
async function findProcess(...words: readonly string[]): Promise<number | undefined> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line.includes('qemu-img') && words.every((word) => line.includes(word))) return Number(name);
  }
  return undefined;
}

const installedPackages = "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' | sort";

describe('offline, through libguestfs', () => {
  it.each([
    { name: 'off-12-ga', release: 'bookworm', agent: 'qemu-ga' },
    { name: 'off-13-own', release: 'trixie', agent: 'virt-trim' },
  ] as const)('$release gets $agent, proven when it has booted; remove takes it out again', async ({ name, release, agent }) => {
    const debian = await define({ name, release });
    const before = await inactiveXml(debian);
    const first = await installed('install', name, '--agent', agent);
    expect(first.result).toMatchObject({ status: 'pending', code: 'needs-boot', via: 'offline', agent });
    expect(first.exitCode).not.toBe(0);
    await boot(debian);
    const { result, exitCode } = await installed('install', name, '--timeout', '10m');
    expect(result).toMatchObject({ status: 'ok', proof: { kind: agent, trim: 'ok' } });
    expect(exitCode).toBe(0);
    await worksAlsoAfterRestart(debian);
    await halt(debian);
    const removed = await installed('remove', name, '--via', 'offline');
    expect(removed.result).toMatchObject({ status: 'ok' });
    expect(await inactiveXml(debian)).toBe(before);
    // Evidence from outside of us: libguestfs' own view of the image.
    const listing = await runChecked('guestfish', ['--ro', '--format=qcow2', '-a', debian.image, '-i'], {
      timeoutMs: 900_000,
      input: 'ls /usr/local/sbin\nls /etc/systemd/system\nls /var/lib\ncat /var/lib/dpkg/status\n',
      env: { LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg', ...appliance },
    });
    expect(listing).toMatch(/Package: openssh-server/);
    expect(listing).not.toMatch(/Package: qemu-guest-agent|virt-trim-agent|^virt-trim$/m);
    await debian.guest.remove();
  });

  it('boots a domain for the proof with --boot and shuts it down again; the package comes from files of the host, not from a network', async () => {
    const debian = await define({ name: 'off-boot', release: hostRelease(), cloudInit: true });
    const packages = await agentPackages(path.dirname(debian.image));
    const { result, exitCode } = await installed('install', 'off-boot', '--package', ...packages, '--boot', '--timeout', '10m');
    expect(result).toMatchObject({ status: 'ok', via: 'offline', agent: 'qemu-ga', proof: { kind: 'qemu-ga', trim: 'ok' } });
    expect(exitCode).toBe(0);
    expect(await debian.guest.virsh('domstate', debian.guest.uuid)).toContain('shut off');
    await debian.guest.remove();
  });
  it('refuses while the domain runs, and an image that is encrypted inside the guest', async () => {
    const debian = await define({ name: 'refused', release: 'bookworm' });
    await debian.guest.start();
    const running = await installed('install', 'refused', '--via', 'offline');
    expect(running.result).toMatchObject({ status: 'skipped', code: 'way-impossible', reason: 'offline: the domain is not off' });
    await debian.guest.destroy();
    const raw = `${debian.image}.raw`;
    await runChecked('truncate', ['-s', '64M', raw], { timeoutMs: 10_000 });
    await runChecked(
      'cryptsetup',
      ['luksFormat', '-q', '--type', 'luks2', '--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000', raw, '-'],
      {
        timeoutMs: 120_000,
        input: 'secret',
      },
    );
    await runChecked('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, debian.image], { timeoutMs: 60_000 });
    const { mtimeMs } = await stat(debian.image);
    const encrypted = await installed('install', 'refused', '--via', 'offline');
    expect(encrypted.result).toMatchObject({ status: 'failed', code: 'refused' });
    expect(encrypted.result.reason).toMatch(/encrypted inside the guest/);
    expect((await stat(debian.image)).mtimeMs).toBe(mtimeMs);
    await debian.guest.remove();
  });
});

describe('an image to which something happens', () => {
  let debian: DebianGuest;
  let before: string;
  const copy = () => `${debian.image}.copy`;
  const whole = () => `${debian.image}.whole`;
  const journal = () => path.join(cli.stateDirectory, 'installs', debian.guest.uuid);
  const compare = () => runChecked('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', debian.image, copy()], { timeoutMs: 600_000 });
  beforeAll(async () => {
    debian = await define({ name: 'killed', release: 'bookworm' });
    await copyFile(debian.image, copy());
    before = await inactiveXml(debian);
  });

  it('is as it was after a kill while libguestfs worked, once recover has run, and boots', async () => {
    const child = cli.start('agent', 'install', 'killed', '--agent', 'virt-trim');
    while (!existsSync(path.join(journal(), 'payload')) && child.exitCode === null) await sleep(100);
    // Meanwhile QEMU's own lock on the image keeps the domain from starting.
    await expect(debian.guest.virsh('start', debian.guest.uuid)).rejects.toThrow(/lock/);
    await sleep(1000);
    child.kill('SIGKILL');
    expect((await child).exitCode).toBeUndefined();
    const recovered = await cli.run('recover');
    process.stderr.write(`  ${recovered.stdout}`);
    expect(recovered.exitCode, recovered.stdout + recovered.stderr).toBe(0);
    expect(recovered.stdout).toMatch(/was interrupted .*everything is as it was/);
    expect(await readdir(path.dirname(journal()))).toEqual([]);
    await compare();
    expect(await inactiveXml(debian)).toBe(before);
    await boot(debian);
  });

  it('is as it was when its disk is full', async () => {
    await debian.guest.runChecked('dd if=/dev/zero of=/fill bs=1M >/dev/null 2>&1; sync; true', 600_000);
    await halt(debian);
    await copyFile(copy(), whole());
    await copyFile(debian.image, copy());
    const { result, exitCode } = await installed('install', 'killed', '--via', 'offline');
    expect(result.status).toBe('failed');
    expect(result.reason).toMatch(/no space is left on the guest's disk.*everything is as it was/);
    expect(exitCode).not.toBe(0);
    await compare();
    expect(await inactiveXml(debian)).toBe(before);
  });

  it('is finished by recover after a kill while it was committed: it boots, and its agent is proven', async () => {
    await copyFile(whole(), debian.image);
    // Our qemu-img is slowed down, or it would be done before it could be hit.
    const programs = path.join(path.dirname(debian.image), 'bin');
    await mkdir(programs, { recursive: true });
    const slow =
      '#!/bin/sh\nif [ "$1" = commit ]; then shift; exec /usr/bin/qemu-img commit -r 262144 "$@"; fi\nexec /usr/bin/qemu-img "$@"\n';
    await writeFile(path.join(programs, 'qemu-img'), slow, { mode: 0o755 });
    const env = { ...cli.env, PATH: `${programs}:${process.env['PATH'] ?? ''}` } as Record<string, string>;
    const args = [cli.file, '-c', rig.uri, 'agent', 'install', 'killed', '--agent', 'virt-trim'];
    const child = execa(process.execPath, args, { env, reject: false, stdin: 'ignore' });
    const isCommitting = () =>
      readFile(path.join(journal(), 'journal.json'), 'utf8')
        .then((text) => text.includes('"committing":true'))
        .catch(() => false);
    while (!(await isCommitting()) && child.exitCode === null) await sleep(20);
    let committer = await findProcess('commit', journal());
    while (committer === undefined && child.exitCode === null) committer = await findProcess('commit', journal());
    await sleep(1000);
    child.kill('SIGKILL');
    if (committer !== undefined) process.kill(committer, 'SIGKILL');
    expect((await child).signal).toBe('SIGKILL');
    expect(await isCommitting()).toBe(true);
    expect((await cli.run('agent', 'status', 'killed')).stderr).toMatch(/was interrupted .*virt-trim recover/);
    const recovered = await cli.run('recover');
    process.stderr.write(`  ${recovered.stdout}`);
    expect(recovered.exitCode, recovered.stdout + recovered.stderr).toBe(0);
    expect(recovered.stdout).toMatch(/is finished now/);
    expect(await readdir(path.dirname(journal()))).toEqual([]);
    await boot(debian);
    const { result } = await installed('install', 'killed', '--timeout', '10m');
    expect(result).toMatchObject({ status: 'ok', proof: { kind: 'virt-trim', trim: 'ok' } });
    await debian.guest.remove();
  });
});

describe('over ssh', () => {
  it.each([
    { name: 'ssh-13-ga', release: 'trixie', agent: 'qemu-ga' },
    // Ours over ssh into a Debian 12: the next test.
  ] as const)('$release gets $agent; remove takes exactly that away', async ({ name, release, agent }) => {
    const debian = await define({ name, release });
    const before = await inactiveXml(debian);
    await boot(debian);
    const packagesBefore = await debian.guest.runChecked(installedPackages);
    const ssh = ['--ssh', debian.target, '--ssh-config', debian.sshConfig] as const;
    const { result, exitCode } = await installed('install', name, ...ssh, '--agent', agent, '--timeout', '10m');
    expect(result).toMatchObject({ status: 'ok', via: 'ssh', agent, proof: { kind: agent, trim: 'ok' } });
    expect(exitCode).toBe(0);
    await worksAlsoAfterRestart(debian);
    const removed = await installed('remove', name, ...ssh);
    expect(removed.result, removed.text).toMatchObject({ status: 'ok' });
    expect(await debian.guest.runChecked(installedPackages)).toBe(packagesBefore);
    expect(await debian.guest.runChecked('ls /usr/local/sbin /etc/systemd/system /var/lib')).not.toMatch(/virt-trim-agent|^virt-trim$/m);
    await halt(debian);
    expect(await inactiveXml(debian)).toBe(before);
    await debian.guest.remove();
  });

  it('with a wrong key, an unknown host, a sudo that asks: nothing is done; without network in the guest qemu-ga cannot come, ours can; a killed one is undone by recover; what works is taken away again', async () => {
    const debian = await define({ name: 'isolated', release: 'bookworm', isolated: true });
    const before = await inactiveXml(debian);
    await boot(debian);
    const packagesBefore = await debian.guest.runChecked(installedPackages);
    const ssh = ['--ssh', debian.target, '--ssh-config', debian.sshConfig] as const;
    const wrongKey = path.join(rig.hypervisor.path('images'), `isolated-wrong`);
    await runChecked('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', wrongKey], { timeoutMs: 60_000 });
    const hosts = await runChecked('cat', [debian.sshConfig.replace('.ssh', '.known_hosts')], { timeoutMs: 10_000 });
    const wrong = await writeSshConfig(path.dirname(debian.image), 'wrong', wrongKey, hosts);
    const refused = await installed('install', 'isolated', '--ssh', debian.target, '--ssh-config', wrong);
    expect(refused.result.status).toBe('failed');
    expect(refused.result.reason).toMatch(/none of your keys is accepted there.*everything is as it was/);
    const strange = await writeSshConfig(path.dirname(debian.image), 'strange', path.join(debian.base, 'key'), '');
    const unknown = await installed('install', 'isolated', '--ssh', debian.target, '--ssh-config', strange);
    expect(unknown.result.reason).toMatch(/its host key is not in known_hosts.*everything is as it was/);
    expect(await inactiveXml(debian)).toBe(before);

    const user =
      'useradd -m -s /bin/sh -G sudo admin && echo admin:secret | chpasswd && cp -r /root/.ssh /home/admin/ && chown -R admin: /home/admin/.ssh';
    await debian.guest.runChecked(user, 120_000);
    const asAdmin = ['--ssh', debian.target.replace('root@', 'admin@'), '--ssh-config', debian.sshConfig] as const;
    const password = await installed('install', 'isolated', ...asAdmin);
    expect(password.result).toMatchObject({ status: 'failed', code: 'permission-denied' });
    expect(password.result.reason).toMatch(
      /sudo there asks for a password; allow it without \(NOPASSWD\), or connect as root.*everything is as it was/,
    );
    expect(await inactiveXml(debian)).toBe(before);
    await debian.guest.runChecked("echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin", 60_000);

    const failed = await installed('install', 'isolated', ...ssh, '--agent', 'qemu-ga');
    expect(failed.result.status).toBe('failed');
    expect(failed.result.reason).toMatch(/no network in the guest.*everything is as it was/);
    expect(await inactiveXml(debian)).toBe(before);

    const child = cli.start('agent', 'install', 'isolated', ...ssh, '--agent', 'virt-trim');
    while ((await debian.guest.run('test -e /var/lib/virt-trim/installed', 60_000)).status !== 0) await sleep(50);
    child.kill('SIGKILL');
    await child;
    const recovered = await cli.run('recover');
    expect(recovered.exitCode, recovered.stdout + recovered.stderr).toBe(0);
    expect(await inactiveXml(debian)).toBe(before);
    expect(await debian.guest.runChecked('ls /usr/local/sbin /etc/systemd/system /var/lib')).not.toMatch(/virt-trim-agent|^virt-trim$/m);

    // Nobody has said which agent: the guest has no network, so it is ours. Through sudo, which asks for nothing now.
    const own = await installed('install', 'isolated', ...asAdmin, '--timeout', '10m');
    expect(own.result).toMatchObject({ status: 'ok', via: 'ssh', agent: 'virt-trim', proof: { kind: 'virt-trim', trim: 'ok' } });
    expect(await debian.guest.runChecked(installedPackages)).toBe(packagesBefore);
    await worksAlsoAfterRestart(debian);
    const removed = await installed('remove', 'isolated', ...ssh);
    expect(removed.result, removed.text).toMatchObject({ status: 'ok' });
    expect(await debian.guest.runChecked('ls /usr/local/sbin /etc/systemd/system /var/lib')).not.toMatch(/virt-trim-agent|^virt-trim$/m);
    await halt(debian);
    expect(await inactiveXml(debian)).toBe(before);
    await debian.guest.remove();
  });
});

describe('cloud-init', () => {
  let debian: DebianGuest;
  const args = ['install', 'cloud', '--via', 'cloud-init', '--agent', 'virt-trim', '--boot', '--timeout', '20m'] as const;
  const files = async () => (await readdir(path.dirname(debian.image))).filter((name) => name.endsWith('.iso'));
  beforeAll(async () => {
    debian = await define({ name: 'cloud', release: 'bookworm', cloudInit: true });
  });

  it('is taken back by recover after a kill: no seed, the XML as before, the guest shuts down or can be', async () => {
    const before = await inactiveXml(debian);
    const child = cli.start('agent', ...args);
    while (/shut off/.test(await debian.guest.virsh('domstate', debian.guest.uuid)) && child.exitCode === null) await sleep(100);
    child.kill('SIGKILL');
    await child;
    const recovered = await cli.run('recover');
    process.stderr.write(`  ${recovered.stdout}`);
    expect(recovered.exitCode, recovered.stdout + recovered.stderr).toBe(0);
    expect(recovered.stdout).toMatch(/XML and devices are as they were; the guest has booted with the seed, and what it did with it stays/);
    expect(await inactiveXml(debian)).toBe(before);
    expect(await files()).toEqual([]);
    // A guest that has just been started does not hear the power button yet.
    await debian.guest.destroy();
  });

  it('brings our agent by a seed, at the one boot that proves it; the seed is gone then, and nothing else has changed', async () => {
    const { result, exitCode } = await installed(...args);
    expect(result).toMatchObject({ status: 'ok', via: 'cloud-init', agent: 'virt-trim', proof: { kind: 'virt-trim', trim: 'ok' } });
    expect(exitCode).toBe(0);
    expect(await inactiveXml(debian)).not.toContain('.iso');
    expect(await files()).toEqual([]);
    await boot(debian);
    // A seed of a new instance could have made host keys, users, a network and package sources anew.
    const kept = await debian.guest.runChecked(
      'cat /etc/ssh/ssh_host_ed25519_key.pub; ls -x /etc/systemd/network; ls /home; cat /etc/hostname; true',
      60_000,
    );
    const hostKey = await readFile(path.join(debian.base, 'host-key.pub'), 'utf8');
    expect(kept.split('\n').filter((line) => line !== '')).toEqual([hostKey.trim(), '10-dhcp.network', 'debian']);
    await debian.guest.waitForAgent(bootMs);
    expect((await cli.run('trim', 'cloud')).exitCode).toBe(0);
    expect((await cli.run('quiesce', 'cloud', '--', 'true')).exitCode).toBe(0);
    await debian.guest.remove();
  });

  it("brings the distribution's qemu-ga over the guest's own network", async () => {
    const other = await define({ name: 'cloud-ga', release: 'bookworm', cloudInit: true });
    const { result, exitCode } = await installed(
      'install',
      'cloud-ga',
      '--via',
      'cloud-init',
      '--agent',
      'qemu-ga',
      '--boot',
      '--timeout',
      '20m',
    );
    expect(result).toMatchObject({ status: 'ok', via: 'cloud-init', agent: 'qemu-ga', proof: { kind: 'qemu-ga', trim: 'ok' } });
    expect(exitCode).toBe(0);
    expect(await other.guest.virsh('domstate', other.guest.uuid)).toContain('shut off');
    await other.guest.remove();
  });
});

describe('an agent that allows guest-exec', () => {
  it('upgrades itself to the package that is given; afterwards it is not ours to take away', async () => {
    const guest = await rig.bootDebian({ name: 'upgrade', release: hostRelease() });
    const version = "dpkg-query -W -f '${Version}' qemu-guest-agent";
    const before = (await guest.runChecked(version)).trim();
    const newer = await newerAgentPackage(rig.hypervisor.path('images'));
    const foreign = await installed('install', 'upgrade', '--upgrade', '--agent', 'virt-trim');
    expect(foreign.result).toMatchObject({ status: 'skipped', code: 'refused' });
    expect(foreign.result.reason).toMatch(/two agents cannot share the port/);

    const xml = await guest.virsh('dumpxml', guest.uuid, '--inactive', '--security-info');
    const child = cli.start('agent', 'install', 'upgrade', '--upgrade', '--package', newer.file);
    while ((await guest.run('ls /tmp/virt-trim-exec-*.out', 60_000)).status !== 0 && child.exitCode === null) await sleep(50);
    child.kill('SIGKILL');
    await child;
    const recovered = await cli.run('recover');
    process.stderr.write(`  ${recovered.stdout}`);
    expect(recovered.exitCode, recovered.stdout + recovered.stderr).toBe(0);
    expect(recovered.stdout).toMatch(
      /what the upgrade did in the guest, where it may still be at work, stays: look with virt-trim agent status/,
    );
    expect(await guest.virsh('dumpxml', guest.uuid, '--inactive', '--security-info')).toBe(xml);
    await guest.runChecked('while [ -e /run/virt-trim-install.lock ]; do sleep 1; done', bootMs);
    const { result, exitCode } = await installed('install', 'upgrade', '--upgrade', '--package', newer.file, '--timeout', '10m');
    expect(result).toMatchObject({ status: 'ok', via: 'agent', agent: 'qemu-ga', proof: { kind: 'qemu-ga', trim: 'ok' } });
    expect(exitCode).toBe(0);
    const after = (await guest.runChecked(version)).trim();
    expect(after).toBe(newer.version);
    expect(after).not.toBe(before);
    expect((await cli.run('trim', 'upgrade')).exitCode).toBe(0);
    expect((await cli.run('quiesce', 'upgrade', '--', 'true')).exitCode).toBe(0);
    expect(await guest.runChecked('cat /var/lib/virt-trim/installed')).not.toMatch(/^(package|service|file) /m);
    await guest.remove();
  });
});
