import { randomUUID } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Element } from '@xmldom/xmldom';
import { fileMode, packArchive } from '../../host/demo/cpio.ts';
import { defineDomain, guestChannels, imageDirectory } from '../../host/demo/define-domain.ts';
import type { Disk } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import type { Hypervisor } from '../../host/demo/hypervisor.ts';
import { ensureKernel } from '../../host/demo/kernel.ts';
import { findProgramFile } from '../../host/demo/program-file.ts';
import { runChecked } from '../../host/demo/run-checked.ts';

/** Adds an element to a domain's devices. */
export function addDevice(
  domain: Element,
  name: string,
  attributes: Record<string, string>,
  ...nested: [string, Record<string, string>][]
): void {
  const document = domain.ownerDocument;
  const devices = domain.getElementsByTagName('devices')[0];
  if (document === null || devices === undefined) throw new Error('no devices');
  const make = (tag: string, values: Record<string, string>): Element => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
    return element;
  };
  const device = make(name, attributes);
  for (const [tag, values] of nested) device.appendChild(make(tag, values));
  devices.appendChild(device);
}

const initProgram = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /new
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod $module; done
until [ -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /new
exec /bin/busybox switch_root /new /sbin/init
`;

const bootProgram = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/virtio-ports /run/rig
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
# What mdev does on such a system: names for ports, also for those that are plugged in later.
while :; do
  for port in /sys/class/virtio-ports/*; do
    [ -s "$port/name" ] && ln -sf "../\${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
  done
  usleep 200000
done </dev/null >/dev/null 2>&1 &
: >/run/booted
`;

const inittab = `::sysinit:/etc/rc
::respawn:/rig/control
ttyS1::respawn:-/bin/sh
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
`;

async function makeRoot(image: string, work: string): Promise<void> {
  const root = path.join(work, 'root');
  for (const name of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'mnt', 'var/lib', 'root', 'rig'])
    await mkdir(path.join(root, name), { recursive: true });
  await copyFile('/bin/busybox', path.join(root, 'bin/busybox'));
  const applets = (await runChecked('busybox', ['--list'], { timeoutMs: 10_000 })).trim().split('\n');
  for (const name of applets) if (name !== 'busybox') await symlink('busybox', path.join(root, 'bin', name));
  await symlink('../bin/busybox', path.join(root, 'sbin/init'));
  const programs: Record<string, string> = {
    'etc/rc': bootProgram,
    'rig/control': await readFile(findProgramFile('tiny-control.sh'), 'utf8'),
    // The agents call this name, and busybox has another one.
    'sbin/shutdown': '#!/bin/sh\nsync\npoweroff -f\n',
  };
  for (const [name, text] of Object.entries(programs)) await writeFile(path.join(root, name), text, { mode: 0o755 });
  await writeFile(path.join(root, 'etc/inittab'), inittab);
  await writeFile(path.join(root, 'etc/passwd'), 'root::0:0:root:/root:/bin/sh\n');
  await writeFile(path.join(root, 'etc/os-release'), 'ID=appliance\nPRETTY_NAME="an appliance with busybox"\n');
  const raw = path.join(work, 'root.raw');
  await writeFile(raw, '');
  await truncate(raw, 256 * 1024 * 1024);
  const noLater = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  await runChecked('mkfs.ext4', ['-q', '-F', '-L', 'vt-root', '-E', noLater, '-d', root, raw], { timeoutMs: 60_000 });
  await runChecked('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image], { timeoutMs: 60_000 });
}

/** Loads the modules in their order, mounts the ext4 of /dev/vda and goes over to what is in it. */
export async function switchRootInitrd(modules: readonly string[]): Promise<Buffer> {
  const entries = await Promise.all(
    modules.map(async (file) => ({ path: `lib/${path.basename(file)}`, mode: fileMode.file, content: await readFile(file) })),
  );
  return packArchive([
    { path: 'init', mode: fileMode.program, content: Buffer.from(initProgram) },
    { path: 'bin/busybox', mode: fileMode.program, content: await readFile('/bin/busybox') },
    { path: 'modules', mode: fileMode.file, content: Buffer.from(modules.map((file) => `/lib/${path.basename(file)}\n`).join('')) },
    ...entries,
  ]);
}

/** An appliance as people have them: busybox on a disk of its own, no package manager, no network; a shell on its second serial port. */
export async function defineAppliance(
  hypervisor: Hypervisor,
  spec: { readonly name: string; readonly channel?: boolean; readonly edit?: (domain: Element) => void },
): Promise<{ guest: Guest; terminal: string }> {
  const uuid = randomUUID();
  const kernel = await ensureKernel();
  const directory = await imageDirectory(hypervisor, uuid);
  const file = path.join(directory, 'vda.qcow2');
  const work = await mkdtemp(path.join(directory, 'work-'));
  await makeRoot(file, work);
  await rm(work, { recursive: true });
  const modules = kernel.loadOrder(['virtio_pci', 'virtio_blk', 'virtio_console', 'isofs']);
  await writeFile(path.join(directory, 'initramfs'), await switchRootInitrd(modules.map((name) => path.join(kernel.modules, name))));
  await copyFile(kernel.image, path.join(directory, 'vmlinuz'));
  const disk: Disk = { spec: {}, target: 'vda', format: 'qcow2', file, source: file, backingFile: null, mountpoint: '/', label: 'vt-root' };
  const terminal = hypervisor.path('channels', `${uuid.slice(0, 8)}.tty`);
  const guest = await defineDomain(hypervisor, {
    name: spec.name,
    uuid,
    disks: [disk],
    hasAgent: false,
    machine: 'pc',
    memoryMiB: 128,
    kernel: path.join(directory, 'vmlinuz'),
    initrd: path.join(directory, 'initramfs'),
    commandLine: 'console=ttyS0 panic=-1 quiet loglevel=4 no_timer_check',
    channels: guestChannels(hypervisor, uuid, { agent: spec.channel === true, scripted: false }),
    edit: (domain) => {
      addDevice(domain, 'serial', { type: 'unix' }, ['source', { mode: 'bind', path: terminal }], ['target', { port: '1' }]);
      spec.edit?.(domain);
    },
  });
  await chmod(file, 0o666);
  return { guest, terminal };
}

/** A person at a serial console. */
export class Terminal implements Disposable {
  readonly #socket: Socket;
  text = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
    socket.on('error', () => undefined);
  }

  static async open(file: string): Promise<Terminal> {
    const socket = createConnection(file);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Terminal(socket);
  }

  type(line: string): void {
    this.#socket.write(`${line}\n`);
  }

  async waitFor(pattern: RegExp, timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!pattern.test(this.text)) {
      if (performance.now() > deadline) throw new Error(`the console never said ${pattern}; it says:\n${this.text.slice(-2000)}`);
      await sleep(50);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
