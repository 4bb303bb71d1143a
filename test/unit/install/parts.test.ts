import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { readChannelRoom } from '../../../host/install/channel-room.ts';
import { cloudInitSeed, cloudInitUserData } from '../../../host/install/cloud-init.ts';
import { findDefects } from '../../../host/install/defects.ts';
import { seedDevice } from '../../../host/install/medium.ts';
import { quoteArgument } from '../../../host/install/guestfish.ts';
import { parseMountpoints } from '../../../host/install/guest-system.ts';
import { readInGuestResult } from '../../../host/install/in-guest-result.ts';
import { readInstallOptions } from '../../../host/install/options.ts';
import { elfArchitecture, loadOwnAgent } from '../../../host/install/own-agent.ts';
import { selfExtracting } from '../../../host/install/payload.ts';
import { freezeHint } from '../../../host/install/prove.ts';
import { destinationFor, sshArguments, sshError } from '../../../host/install/ssh.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';
import { parseXml } from '../../../host/libvirt/xml.ts';

describe('readChannelRoom', () => {
  const room = (devices: string) => readChannelRoom(parseXml(`<domain><devices>${devices}</devices></domain>`, 'test'));
  const port = (name: string, number: number) =>
    `<channel type='unix'><target type='virtio' name='${name}'/><address type='virtio-serial' controller='0' bus='0' port='${number}'/></channel>`;

  it('needs a controller to plug into', () => {
    expect(room('')).toEqual({ present: false, hotplug: false, obstacle: 'the running machine has no virtio-serial controller' });
    expect(room(`<controller type='virtio-serial' index='0'/>`)).toMatchObject({ hotplug: true, obstacle: null });
  });

  it('counts the ports that are taken; the first is not for channels', () => {
    const full = `<controller type='virtio-serial' index='0' ports='2'/>${port('a', 1)}`;
    expect(room(full)).toMatchObject({ hotplug: false, obstacle: 'its virtio-serial controller has no free port' });
    expect(room(full.replace("ports='2'", "ports='3'")).hotplug).toBe(true);
  });

  it('knows the agent channel by its name', () => {
    expect(room(port('org.qemu.guest_agent.0', 1)).present).toBe(true);
    expect(room(port('com.redhat.spice.0', 1)).present).toBe(false);
  });
});

describe('readInstallOptions', () => {
  it.each([
    [{ via: 'telepathy' }, /--via 'telepathy'/],
    [{ agent: 'other' }, /--agent 'other'/],
    [{ ssh: '-oProxyCommand=reboot' }, /--ssh '-oProxyCommand=reboot'/],
    [{ ssh: 'a b' }, /--ssh 'a b'/],
    [{ via: 'ssh' }, /--via ssh needs --ssh/],
    [{ print: true }, /--print belongs to/],
    [{ package: ['/nonexistent.deb'] }, /no such file/],
    [{ timeout: 'soon' }, /--timeout 'soon'/],
  ])('refuses %j', (raw, message) => {
    expect(() => readInstallOptions(['web1'], raw)).toThrow(message);
  });

  it("takes a package by the name that apt-get download gives it, an epoch's colon as %3a", async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'vt-package-'));
    const file = path.join(directory, 'qemu-guest-agent_1%3a7.2+dfsg-7+deb12u18+b3_amd64.deb');
    await writeFile(file, '');
    expect(readInstallOptions(['web1'], { package: [file] })).toMatchObject({ packages: [file], agent: 'qemu-ga' });
    const program = selfExtracting(new Map([[`packages/${path.basename(file)}`, Buffer.from('x')]]), '0123456789ab', ['install']);
    expect(program).toContain('qemu-guest-agent_1%3a7.2');
    await rm(directory, { recursive: true });
  });

  it('wants {name} where one --ssh would be for many', () => {
    expect(() => readInstallOptions([], { allMissing: true, ssh: 'root@one' })).toThrow(/\{name\}/);
    expect(readInstallOptions([], { allMissing: true, ssh: 'root@{name}.example' }).ssh).toBe('root@{name}.example');
  });
});

describe('ssh', () => {
  it('never asks, never takes an unknown key, and keeps the destination behind --', () => {
    const args = sshArguments({ destination: 'admin@host:2222', configFile: null });
    expect(args).toContain('BatchMode=yes');
    expect(args).toContain('StrictHostKeyChecking=yes');
    expect(args.slice(args.indexOf('--') + 1, args.indexOf('--') + 2)).toEqual(['admin@host']);
    expect(args[args.indexOf('-p') + 1]).toBe('2222');
    expect(sshArguments({ destination: 'root@[fd00::1]:22', configFile: null })).toContain('root@fd00::1');
  });

  it('takes a domain name into a host name only where it is one', () => {
    expect(destinationFor('root@{name}.lan', 'web1')).toBe('root@web1.lan');
    expect(() => destinationFor('root@{name}', '-oProxyCommand=x')).toThrow(/no host name/);
    expect(() => destinationFor('root@{name}', 'a b')).toThrow(/no host name/);
  });

  it.each([
    ['Host key verification failed.', /known_hosts/],
    ['root@h: Permission denied (publickey).', /none of your keys/],
    ['ssh: connect to host h port 22: Connection refused', /nothing listens/],
    ['ssh: Could not resolve hostname h: Name or service not known', /not known/],
  ])('explains %s', (stderr, message) => {
    expect(sshError('root@h', stderr).message).toMatch(message);
  });
});

describe("the guest's words", () => {
  it('count only where they are known ones', () => {
    expect(readInGuestResult('noise\nvirt-trim-result: qemu-ga\n')).toBe('qemu-ga');
    expect(() => readInGuestResult('virt-trim-result: /etc/passwd')).toThrow(/did not come to its end/);
    expect(() => readInGuestResult('virt-trim: x\nvirt-trim-result: failed-22')).toThrow(/no space is left/);
  });

  it('are cleaned before they are shown', () => {
    expect(() => readInGuestResult('\u001b[2Jboo\nvirt-trim-result: failed-21')).toThrow(/\ufffd\[2Jboo/);
  });

  it('become no path of theirs: mount points are letters and digits, devices are devices', () => {
    const text = '/: /dev/sda1\n/boot: /dev/sda2\n/evil name: /dev/sda3\n/x: file:///etc/shadow\n';
    expect(parseMountpoints(text)).toEqual([
      { mountpoint: '/', device: '/dev/sda1' },
      { mountpoint: '/boot', device: '/dev/sda2' },
    ]);
  });

  it('are given to guestfish quoted, and control characters not at all', () => {
    expect(quoteArgument('a "b" \\c')).toBe('"a \\"b\\" \\\\c"');
    expect(() => quoteArgument('a\nrm-rf /')).toThrow(/control character/);
  });
});

describe('our own agent', () => {
  const elf = (machine: number) => Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0]);

  it('is known by its ELF header', () => {
    expect(elfArchitecture(elf(0x3e))).toBe('x86_64');
    expect(elfArchitecture(elf(0xb7))).toBe('aarch64');
    expect(elfArchitecture(Buffer.from('#!/bin/sh\n# a script of some length'))).toBeNull();
  });

  it('is refused with a wrong checksum, without one, and for another processor', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'vt-own-'));
    const file = path.join(directory, 'virt-trim-agent-x86_64');
    const agents = [{ arch: 'x86_64', file }] as const;
    const sumOf = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');
    await writeFile(file, elf(0x3e));
    await expect(loadOwnAgent(agents, 'x86_64')).rejects.toThrow(/does not name it/);
    await writeFile(path.join(directory, 'SHA256SUMS'), `${'0'.repeat(64)}  virt-trim-agent-x86_64\n`);
    await expect(loadOwnAgent(agents, 'x86_64')).rejects.toThrow(/is not the one in SHA256SUMS/);
    await writeFile(file, elf(0xb7));
    await writeFile(path.join(directory, 'SHA256SUMS'), `${sumOf(elf(0xb7))}  virt-trim-agent-x86_64\n`);
    await expect(loadOwnAgent(agents, 'x86_64')).rejects.toThrow(/is a program for aarch64/);
    await writeFile(file, elf(0x3e));
    await writeFile(path.join(directory, 'SHA256SUMS'), `${sumOf(elf(0x3e))}  virt-trim-agent-x86_64\n`);
    expect((await loadOwnAgent(agents, 'x86_64')).sha256).toBe(sumOf(elf(0x3e)));
    await expect(loadOwnAgent(agents, 'aarch64')).rejects.toThrow(/not part of this installation/);
    await rm(directory, { recursive: true });
  });

  it('goes nowhere with words that are not ours', () => {
    expect(() => selfExtracting(new Map(), 'nope', ['install'])).toThrow();
    expect(() => selfExtracting(new Map(), '0123456789ab', ['install; reboot'])).toThrow();
    expect(() => selfExtracting(new Map([['../etc/passwd', Buffer.from('x')]]), '0123456789ab', ['install'])).toThrow();
  });
});

describe('cloud-init', () => {
  it('carries the files and runs the script; what is printed for a new guest keeps cloud-init from nothing else', () => {
    const plain = parse(cloudInitUserData(new Map(), 'qemu-ga', '0123456789ab')) as { runcmd: string[][] };
    expect(Object.keys(plain)).toEqual(['write_files', 'runcmd']);
    expect(plain.runcmd[0]?.slice(-2)).toEqual(['install', 'qemu-ga']);
    const seed = cloudInitSeed(new Map([['in-guest.sh', Buffer.from('echo')]]), 'virt-trim', '0123456789ab');
    expect(seed.userData).toMatch(/^#cloud-config\n/);
    const own = parse(seed.userData) as { write_files: { path: string; content: string }[]; runcmd: string[][] };
    expect(own.write_files[0]).toMatchObject({
      path: '/run/virt-trim-0123456789ab/in-guest.sh',
      content: Buffer.from('echo').toString('base64'),
    });
    expect(own.runcmd[0]).toEqual(['sh', '/run/virt-trim-0123456789ab/in-guest.sh', 'install', 'virt-trim']);
    expect(parse(seed.metaData)).toEqual({ 'instance-id': 'virt-trim-0123456789ab' });
  });

  it('leaves network, users and package sources of a guest that was set up before as they are', () => {
    const { userData, networkConfig } = cloudInitSeed(new Map(), 'qemu-ga', '0123456789ab');
    expect(Object.entries(parse(userData) as object).filter(([key]) => key.endsWith('_modules'))).toEqual([
      ['cloud_init_modules', ['write-files']],
      ['cloud_config_modules', ['runcmd']],
      ['cloud_final_modules', ['scripts-user']],
    ]);
    expect(parse(networkConfig)).toEqual({ config: 'disabled' });
  });

  it.each([
    ['virtio', 'vda', { device: 'disk', bus: 'virtio', target: 'vdb' }],
    ['scsi', 'sda', { device: 'disk', bus: 'scsi', target: 'sdb' }],
    ['sata', 'sda', { device: 'cdrom', bus: 'sata', target: 'sdb' }],
    ['ide', 'hda', { device: 'cdrom', bus: 'ide', target: 'hdb' }],
  ])('is shown where a guest on %s has a driver', (bus, target, device) => {
    const xml = `<domain><name>a</name><uuid>0b0f1f0a-0000-4000-8000-000000000001</uuid><devices><disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/a'/><target dev='${target}' bus='${bus}'/></disk></devices></domain>`;
    expect(seedDevice(parseDomainXml(xml), '/seed.iso')).toEqual({ file: '/seed.iso', ...device });
  });
});

describe('what is known to be wrong', () => {
  const facts = (kind: 'qemu-ga' | 'virt-trim', version: string, isWindows = false) => ({
    info: { version, supported_commands: [] },
    kind,
    os: null,
    osText: null,
    isWindows,
    frozen: null,
    filesystems: null,
  });

  it('goes by kind and version', () => {
    expect(findDefects(facts('qemu-ga', '7.2.22')).map(({ id }) => id)).toEqual(['loop-mount-deadlock']);
    expect(findDefects(facts('qemu-ga', '10.0.2'))).toEqual([]);
    expect(findDefects(facts('qemu-ga', '2.3.0')).map(({ id }) => id)).toContain('no-trim-detail');
    expect(findDefects(facts('virt-trim', '0.1.0'))).toEqual([]);
    expect(findDefects(facts('qemu-ga', '10.0.0', true)).map(({ id }) => id)).toEqual(['vss-full-backup']);
  });

  it('hints at SELinux only where the kernel said so', () => {
    expect(freezeHint('failed to open /srv: Permission denied')).toMatch(/virt_qemu_ga_read_nonsecurity_files on/);
    expect(freezeHint('failed to open /srv: No such file or directory')).not.toMatch(/SELinux/);
  });
});
