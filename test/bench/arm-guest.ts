import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runPrivateApt } from '../../guest/build/apt.ts';
import { ensureCached } from '../../host/demo/cache.ts';
import { ControlChannel } from '../../host/demo/control-channel.ts';
import { type ArchiveEntry, fileMode, packArchive } from '../../host/demo/cpio.ts';
import { findProgramFile } from '../../host/demo/program-file.ts';
import { runChecked } from '../../host/demo/run-checked.ts';
import { ownAgentProgram } from '../rig/default-agent.ts';

/**
 * A tiny aarch64 guest under plain QEMU, without libvirt: Debian's arm64 kernel, busybox, strace and our aarch64 agent. Everything is
 * downloaded from Debian (some 60 MB) and kept; nothing is installed on this machine.
 */
const timeoutMs = 300_000;
const kernelPackage = 'linux-image-cloud-arm64';
const guestPackages = ['busybox-static', 'strace', 'libc6', 'libunwind8', 'liblzma5'];
/** In the order to load them. ext4 is built in. */
const modules = (
  'virtio/virtio virtio/virtio_ring virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci ' +
  'block/virtio_blk char/virtio_console'
).split(' ');

async function unpack(from: string, prefix: string, to: string): Promise<void> {
  const names = (await readdir(from)).filter((name) => name.startsWith(prefix) && name.endsWith('.deb'));
  for (const name of names) await runChecked('dpkg-deb', ['-x', path.join(from, name), to], { timeoutMs });
}

async function download(directory: string): Promise<void> {
  const work = path.join(directory, 'work');
  const [arm, native] = [path.join(work, 'arm64'), path.join(work, 'amd64')];
  for (const folder of [arm, native]) await mkdir(folder, { recursive: true });
  const source = { suite: 'bookworm', type: 'deb' } as const;
  runPrivateApt(native, { ...source, architecture: 'amd64' }, ['download', 'qemu-system-arm']);
  runPrivateApt(arm, { ...source, architecture: 'arm64' }, ['download', kernelPackage, ...guestPackages]);
  const meta = (await readdir(arm)).find((name) => name.startsWith(kernelPackage)) ?? '';
  const depends = await runChecked('dpkg-deb', ['-f', path.join(arm, meta), 'Depends'], { timeoutMs });
  const kernel = /linux-image-\S+/.exec(depends)?.[0] ?? '';
  runPrivateApt(arm, { ...source, architecture: 'arm64' }, ['download', kernel]);
  await unpack(native, 'qemu-system-arm', path.join(directory, 'qemu'));
  for (const name of [kernel, ...guestPackages]) await unpack(arm, `${name}_`, path.join(work, 'root'));
  await rename(path.join(work, 'root'), path.join(directory, 'root'));
  await rm(work, { recursive: true });
}

const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /mnt/vda /run/rig
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /run
mkdir -p /dev/virtio-ports /run/rig
for module in $(cat /modules); do insmod $module; done
until [ -s /sys/class/virtio-ports/vport0p2/name ] || [ -s /sys/class/virtio-ports/vport1p2/name ] || [ -s /sys/class/virtio-ports/vport2p2/name ]; do sleep 0.1; done
for port in /sys/class/virtio-ports/*; do ln -sf ../\${port##*/} /dev/virtio-ports/$(cat $port/name); done
until [ -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /mnt/vda
: >/run/booted
while :; do sh /control; sleep 1; done
`;

async function buildInitramfs(base: string): Promise<Buffer> {
  const root = path.join(base, 'root');
  const release = (await readdir(path.join(root, 'lib/modules')))[0] ?? '';
  const read = (name: string): Promise<Buffer> => readFile(path.join(root, name));
  const program = (name: string, content: Uint8Array): ArchiveEntry => ({ path: name, mode: fileMode.program, content });
  const libraries = 'lib/aarch64-linux-gnu';
  const entries = [
    program('init', Buffer.from(init)),
    program('control', await readFile(findProgramFile('tiny-control.sh'))),
    program('bin/busybox', await read('bin/busybox')),
    program('usr/bin/strace', await read('usr/bin/strace')),
    program('lib/ld-linux-aarch64.so.1', await read(`${libraries}/ld-linux-aarch64.so.1`)),
    program('lib/libc.so.6', await read(`${libraries}/libc.so.6`)),
    program('agent', await readFile(ownAgentProgram.replace('x86_64', 'aarch64'))),
    program('modules', Buffer.from(modules.map((name) => `/lib/modules/${path.basename(name)}.ko\n`).join(''))),
  ];
  for (const name of modules) {
    entries.push(program(`lib/modules/${path.basename(name)}.ko`, await read(`lib/modules/${release}/kernel/drivers/${name}.ko`)));
  }
  return packArchive(entries);
}

export class ArmGuest implements AsyncDisposable {
  readonly #directory: string;
  readonly #qemu: ChildProcess;
  readonly #control: ControlChannel;

  private constructor(directory: string, qemu: ChildProcess) {
    this.#directory = directory;
    this.#qemu = qemu;
    this.#control = new ControlChannel(path.join(directory, 'control.sock'));
  }

  static async boot(): Promise<ArmGuest> {
    const base = await ensureCached('arm64-guest-1', download);
    const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-arm-'));
    const file = (name: string): string => path.join(directory, name);
    await writeFile(file('initramfs'), await buildInitramfs(base));
    await writeFile(file('disk'), '');
    await truncate(file('disk'), 256 * 2 ** 20);
    if (spawnSync('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard,lazy_itable_init=0', file('disk')]).status !== 0) throw new Error('mkfs.ext4');
    const kernel = (await readdir(path.join(base, 'root/boot'))).find((name) => name.startsWith('vmlinuz-')) ?? '';
    const machine = `-M virt -cpu cortex-a57 -m 256 -nodefaults -display none -serial file:${file('console')}`.split(' ');
    const boot = ['-kernel', path.join(base, 'root/boot', kernel), '-initrd', file('initramfs')];
    const disk = `-drive if=none,id=disk,file=${file('disk')},format=raw,discard=unmap -device virtio-blk-pci,drive=disk`.split(' ');
    const port = (id: string, name: string): string[] =>
      `-chardev socket,id=${id},path=${file(`${id}.sock`)},server=on,wait=off -device virtserialport,chardev=${id},name=${name}`.split(' ');
    const ports = ['-device', 'virtio-serial-pci', ...port('agent', 'org.qemu.guest_agent.0'), ...port('control', 'virt-trim.rig.0')];
    const qemu = spawn(
      path.join(base, 'qemu/usr/bin/qemu-system-aarch64'),
      [...machine, ...boot, '-append', 'console=ttyAMA0 quiet panic=-1', ...disk, ...ports],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const guest = new ArmGuest(directory, qemu);
    while (!existsSync(file('control.sock')) && qemu.exitCode === null) await sleep(50);
    const { status } = await guest.run('until [ -e /run/booted ]; do sleep 0.1; done', timeoutMs);
    if (status !== 0) throw new Error(`the aarch64 guest did not boot:\n${await readFile(file('console'), 'utf8')}`);
    return guest;
  }

  get agentSocket(): string {
    return path.join(this.#directory, 'agent.sock');
  }

  /** The image of its disk on the host. */
  get disk(): string {
    return path.join(this.#directory, 'disk');
  }

  run(command: string, limitMs = timeoutMs): ReturnType<ControlChannel['run']> {
    return this.#control.run(command, limitMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#control.close();
    const ended = this.#qemu.exitCode !== null || new Promise((end) => this.#qemu.once('exit', end));
    this.#qemu.kill('SIGKILL');
    await ended;
    await rm(this.#directory, { recursive: true, force: true });
  }
}
