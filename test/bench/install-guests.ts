import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Element } from '@xmldom/xmldom';
import { ensureCached } from '../../host/demo/cache.ts';
import { defineDomain, guestChannels, imageDirectory } from '../../host/demo/define-domain.ts';
import type { Disk } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import type { Hypervisor } from '../../host/demo/hypervisor.ts';
import { findProgramFile } from '../../host/demo/program-file.ts';
import { runChecked } from '../../host/demo/run-checked.ts';
import { switchRootInitrd } from '../vm/install-guests.ts';

export type Release = 'bookworm' | 'trixie';

const minutesMs = 60_000;
const packages =
  'systemd-sysv,openssh-server,linux-image-cloud-amd64,initramfs-tools,udev,kmod,util-linux,e2fsprogs,iproute2,ca-certificates,sudo';

/**
 * debootstrap does not see through the virtual package by which python3-cryptography needs the second one. With dbus there is a logind,
 * which hears the power button: our agent has no command to shut a guest down.
 */
const cloudPackages = 'cloud-init,python3-cffi-backend,dbus';

const controlUnit = `[Unit]
Description=The test's hand in this guest
After=local-fs.target systemd-udevd.service

[Service]
ExecStart=/bin/sh /usr/local/lib/virt-trim-control
ExecStartPre=/bin/sh -c ': >/run/booted'
Restart=always

[Install]
WantedBy=multi-user.target
`;

/** A Debian as an administrator has it: openssh, DHCP, no guest agent. */
async function configure(root: string, directory: string): Promise<void> {
  await runChecked('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path.join(directory, 'key')], { timeoutMs: minutesMs });
  await mkdir(path.join(root, 'root/.ssh'), { recursive: true, mode: 0o700 });
  const files: Record<string, string> = {
    'etc/fstab': 'LABEL=vt-root / ext4 rw,relatime 0 1\n',
    'etc/hostname': 'debian\n',
    'etc/resolv.conf': 'nameserver 10.0.2.3\n',
    'etc/systemd/network/10-dhcp.network': '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n',
    'etc/systemd/system/virt-trim-control.service': controlUnit,
    'usr/local/lib/virt-trim-control': await readFile(findProgramFile('tiny-control.sh'), 'utf8'),
    'root/.ssh/authorized_keys': await readFile(path.join(directory, 'key.pub'), 'utf8'),
  };
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(root, name), content, { mode: 0o644 });
  await chmod(path.join(root, 'root/.ssh/authorized_keys'), 0o600);
  for (const [verb, ...units] of [
    ['enable', 'virt-trim-control.service', 'systemd-networkd.service', 'ssh.service'],
    ['mask', 'apt-daily.timer', 'apt-daily-upgrade.timer', 'fstrim.timer', 'e2scrub_all.timer', 'systemd-networkd-wait-online.service'],
  ] as const)
    await runChecked('systemctl', ['--root', root, verb, ...units], { timeoutMs: minutesMs });
  await copyFile(path.join(root, 'etc/ssh/ssh_host_ed25519_key.pub'), path.join(directory, 'host-key.pub'));
}

async function build(release: Release, extra: string, directory: string): Promise<void> {
  const root = path.join(directory, 'root');
  await runChecked('debootstrap', ['--variant=minbase', `--include=${packages}${extra}`, release, root, 'http://deb.debian.org/debian'], {
    timeoutMs: 20 * minutesMs,
  });
  await finish(root, directory);
}

/** Makes `root.qcow2`, `vmlinuz` and `initrd` of a bootstrapped tree. */
export async function finish(root: string, directory: string): Promise<void> {
  await configure(root, directory);
  // The lists stay: without them apt knows no package until it has a network.
  await rm(path.join(root, 'var/cache/apt/archives'), { recursive: true });
  for (const name of await readdir(path.join(root, 'boot'))) {
    if (name.startsWith('vmlinuz-')) await copyFile(path.join(root, 'boot', name), path.join(directory, 'vmlinuz'));
    if (name.startsWith('initrd.img-')) await rename(path.join(root, 'boot', name), path.join(directory, 'initrd'));
  }
  const raw = path.join(directory, 'root.raw');
  await writeFile(raw, '');
  await truncate(raw, 3 * 1024 ** 3);
  const noLater = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  await runChecked('mkfs.ext4', ['-q', '-L', 'vt-root', '-E', noLater, '-d', root, raw], { timeoutMs: 10 * minutesMs });
  await runChecked('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path.join(directory, 'root.qcow2')], {
    timeoutMs: 10 * minutesMs,
  });
  await rm(raw);
  await rm(root, { recursive: true });
}

/**
 * The environment in which libguestfs finds a kernel for its appliance: on a machine that has none in /boot (a container, a chroot)
 * Debian's is unpacked beside (supermin(1), SUPERMIN_KERNEL). Nothing is installed, but supermin wants /lib/modules to exist.
 */
export async function applianceEnvironment(): Promise<Record<string, string>> {
  const { image, modules } = await wholeKernel();
  await mkdir('/lib/modules', { recursive: true });
  return { SUPERMIN_KERNEL: image, SUPERMIN_MODULES: modules, LIBGUESTFS_CACHEDIR: '/var/tmp' };
}

/** The kernel of this machine's Debian release, with all its modules. */
async function wholeKernel(): Promise<{ image: string; modules: string }> {
  const kernel = await ensureCached('supermin-kernel-1', async (directory) => {
    const listed = await runChecked('apt-cache', ['depends', 'linux-image-cloud-amd64'], { timeoutMs: minutesMs });
    const name = /Depends: (linux-image-\S+)/.exec(listed)?.[1] ?? 'linux-image-cloud-amd64';
    await runChecked('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', name], { timeoutMs: 10 * minutesMs, cwd: directory });
    const archive = (await readdir(directory)).find((file) => file.endsWith('.deb')) ?? '';
    await runChecked('dpkg', ['-x', archive, '.'], { timeoutMs: 10 * minutesMs, cwd: directory });
    await rm(path.join(directory, archive));
    for (const release of await readdir(path.join(directory, 'lib/modules')))
      await runChecked('depmod', ['-b', directory, release], { timeoutMs: minutesMs });
  });
  const [release = ''] = await readdir(path.join(kernel, 'lib/modules'));
  return { image: path.join(kernel, 'boot', `vmlinuz-${release}`), modules: path.join(kernel, 'lib/modules', release) };
}

/** Paths of modules and of all that they need, in the order to load them (modules.dep(5): the nearest need comes first). */
async function loadOrder(modules: string, names: readonly string[]): Promise<string[]> {
  const lines = (await readFile(path.join(modules, 'modules.dep'), 'utf8')).split('\n');
  const found = names.flatMap((name) => {
    const line = lines.find((each) => each.split(':')[0]?.endsWith(`/${name}.ko`)) ?? ':';
    const [file = '', needs = ''] = line.split(':');
    return [...needs.trim().split(' ').toReversed(), file].filter((each) => each !== '');
  });
  return [...new Set(found)].map((file) => path.join(modules, file));
}

/**
 * The kernel that a guest is started with. QEMU 7.2 of Debian 12 does not emulate Debian 13's: it panics within its first three seconds
 * (in __kmalloc, behind a cmpxchg16b that left wrong flags). There Debian 13 runs on Debian 12's.
 */
async function copyKernel(release: Release, base: string, directory: string): Promise<void> {
  const host = /^VERSION_ID="?(\d+)/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
  if (release === 'bookworm' || host !== '12') {
    for (const name of ['vmlinuz', 'initrd']) await copyFile(path.join(base, name), path.join(directory, name));
    return;
  }
  const { image, modules } = await wholeKernel();
  const wanted = ['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'virtio_rng', 'isofs'];
  await copyFile(image, path.join(directory, 'vmlinuz'));
  await writeFile(path.join(directory, 'initrd'), await switchRootInitrd(await loadOrder(modules, wanted)));
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

const qemuNamespace = 'http://libvirt.org/schemas/domain/qemu/1.0';

/** A network card on QEMU's user network, with the host's `port` led to the guest's ssh. `isolated`: no way out of it. */
function addNetwork(domain: Element, port: number, isolated: boolean): void {
  const document = domain.ownerDocument;
  if (document === null) throw new Error('no document');
  const commandLine = document.createElementNS(qemuNamespace, 'qemu:commandline');
  const forward = `user,id=net0,hostfwd=tcp:127.0.0.1:${port}-:22${isolated ? ',restrict=on' : ''}`;
  for (const value of ['-netdev', forward, '-device', 'virtio-net-pci,netdev=net0,addr=0x1c']) {
    const argument = document.createElementNS(qemuNamespace, 'qemu:arg');
    argument.setAttribute('value', value);
    commandLine.appendChild(argument);
  }
  domain.appendChild(commandLine);
}

export interface DebianGuest {
  readonly guest: Guest;
  readonly image: string;
  /** For `--ssh`. */
  readonly target: string;
  /** For `--ssh-config`: the right key and host key. */
  readonly sshConfig: string;
  readonly base: string;
}

export interface DebianSpec {
  readonly name: string;
  readonly release: Release;
  readonly isolated?: boolean;
  /** With Debian's cloud-init, as in a cloud image, and with dbus, without which systemd 252 does not shut down on an agent's word. */
  readonly cloudInit?: boolean;
}

/** Writes an ssh configuration of the test's own: the machine's ~/.ssh has no part in it. */
export async function writeSshConfig(directory: string, name: string, key: string, knownHosts: string): Promise<string> {
  const hosts = path.join(directory, `${name}.known_hosts`);
  await writeFile(hosts, knownHosts);
  const copy = path.join(directory, `${name}.key`);
  await copyFile(key, copy);
  await chmod(copy, 0o600);
  const file = path.join(directory, `${name}.ssh`);
  await writeFile(
    file,
    `Host *\n  IdentityFile ${copy}\n  IdentitiesOnly yes\n  UserKnownHostsFile ${hosts}\n  GlobalKnownHostsFile /dev/null\n`,
  );
  return file;
}

export async function defineDebian(hypervisor: Hypervisor, spec: DebianSpec): Promise<DebianGuest> {
  const base = await ensureCached(
    spec.cloudInit === true ? `debian-cloud-${spec.release}-2` : `debian-ssh-${spec.release}-1`,
    (directory) => build(spec.release, spec.cloudInit === true ? `,${cloudPackages}` : '', directory),
  );
  const uuid = randomUUID();
  const directory = await imageDirectory(hypervisor, uuid);
  const image = path.join(directory, 'vda.qcow2');
  await copyFile(path.join(base, 'root.qcow2'), image);
  await copyKernel(spec.release, base, directory);
  const port = await freePort();
  const disk: Disk = {
    spec: {},
    target: 'vda',
    format: 'qcow2',
    file: image,
    source: image,
    backingFile: null,
    mountpoint: '/',
    label: 'vt-root',
  };
  const guest = await defineDomain(hypervisor, {
    name: spec.name,
    uuid,
    disks: [disk],
    hasAgent: false,
    machine: 'q35',
    memoryMiB: 512,
    kernel: path.join(directory, 'vmlinuz'),
    initrd: path.join(directory, 'initrd'),
    commandLine: 'console=ttyS0 root=LABEL=vt-root rw quiet loglevel=4 panic=-1 no_timer_check',
    channels: guestChannels(hypervisor, uuid, { agent: false, scripted: false }),
    edit: (domain) => addNetwork(domain, port, spec.isolated === true),
  });
  const hostKey = (await readFile(path.join(base, 'host-key.pub'), 'utf8')).split(' ').slice(0, 2).join(' ');
  const sshConfig = await writeSshConfig(directory, 'right', path.join(base, 'key'), `[127.0.0.1]:${port} ${hostKey}\n`);
  return { guest, image, target: `root@127.0.0.1:${port}`, sshConfig, base };
}

/** The Debian release of this machine, whose packages `apt-get download` gives. */
export function hostRelease(): Release {
  return /^VERSION_ID="?13/m.test(readFileSync('/etc/os-release', 'utf8')) ? 'trixie' : 'bookworm';
}

async function download(directory: string, names: readonly string[]): Promise<string[]> {
  const folder = path.join(directory, 'packages');
  await mkdir(folder, { recursive: true });
  await runChecked('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...names], { timeoutMs: 10 * minutesMs, cwd: folder });
  return (await readdir(folder)).filter((name) => name.endsWith('.deb')).map((name) => path.join(folder, name));
}

/** qemu-guest-agent and what it needs beyond a minimal Debian, as files. */
export async function agentPackages(directory: string): Promise<string[]> {
  const listed = await runChecked('apt-cache', ['depends', 'qemu-guest-agent'], { timeoutMs: minutesMs });
  const needs = [...listed.matchAll(/^ +Depends: ([a-z0-9.+-]+)$/gm)].map((match) => match[1] ?? '');
  return download(directory, ['qemu-guest-agent', ...needs.filter((name) => !/^(libc6|libudev1|init-system-helpers)$/.test(name))]);
}

/** The distribution's own package with a version that is newer than any: what an upgrade looks like when none is at hand. */
export async function newerAgentPackage(directory: string): Promise<{ file: string; version: string }> {
  const [original = ''] = await download(directory, ['qemu-guest-agent']);
  const tree = path.join(directory, 'newer');
  await runChecked('dpkg-deb', ['-R', original, tree], { timeoutMs: minutesMs });
  const control = path.join(tree, 'DEBIAN/control');
  const text = await readFile(control, 'utf8');
  const version = `${/^Version: (.*)$/m.exec(text)?.[1] ?? ''}+newer1`;
  await writeFile(control, text.replace(/^Version: .*$/m, `Version: ${version}`));
  const file = path.join(directory, 'qemu-guest-agent_newer.deb');
  await runChecked('dpkg-deb', ['-b', '--root-owner-group', tree, file], { timeoutMs: minutesMs });
  return { file, version };
}
