import { randomUUID } from 'node:crypto';
import { appendFile, chmod, copyFile, cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureCached } from '../../host/demo/cache.ts';
import { defineDomain, guestChannels, imageDirectory } from '../../host/demo/define-domain.ts';
import type { Disk } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { ensureKernel } from '../../host/demo/kernel.ts';
import { findProgramFile } from '../../host/demo/program-file.ts';
import { runChecked } from '../../host/demo/run-checked.ts';
import { ownAgentProgram } from '../rig/default-agent.ts';
import { defineDebianGuest } from '../rig/debian-guest.ts';
import type { Rig } from '../rig/rig.ts';
import { switchRootInitrd } from '../vm/install-guests.ts';

export type InitSystem = 'systemd' | 'openrc' | 'sysvinit';

const timeoutMs = 900_000;
const packages = 'sysvinit-core,sysv-rc,initscripts,udev,kmod,util-linux,e2fsprogs,mount,procps';
/** The test's hand in the guest, as a getty would be; `booted` when everything of the runlevel was started. */
const inittab = `vt:2345:respawn:/bin/sh /usr/local/lib/virt-trim-control
bt:2345:once:/bin/sh -c ': >/run/booted'
`;

async function makeImage(root: string, label: string, raw: string, bytes: number): Promise<void> {
  await writeFile(raw, '');
  await truncate(raw, bytes);
  const noLater = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  await runChecked('mkfs.ext4', ['-q', '-F', '-L', label, '-E', noLater, '-d', root, raw], { timeoutMs });
}

/** A Debian 12 without systemd, from Debian's own packages; OpenRC in place of sysv-rc where that is asked for. */
async function buildBase(init: 'openrc' | 'sysvinit', directory: string): Promise<void> {
  const root = path.join(directory, 'root');
  const options = ['--variant=minbase', `--include=${packages}`, '--exclude=systemd,systemd-sysv'];
  await runChecked('debootstrap', [...options, 'bookworm', root, 'http://deb.debian.org/debian'], { timeoutMs });
  if (init === 'openrc') {
    await copyFile('/etc/resolv.conf', path.join(root, 'etc/resolv.conf'));
    await runChecked('chroot', [root, 'apt-get', '-q', 'update'], { timeoutMs });
    await runChecked('chroot', [root, 'apt-get', '-q', 'install', '-y', '--no-install-recommends', 'openrc'], { timeoutMs });
  }
  await writeFile(path.join(root, 'etc/fstab'), 'LABEL=vt-root / ext4 rw,relatime 0 0\n');
  await appendFile(path.join(root, 'etc/inittab'), inittab);
  await writeFile(path.join(root, 'usr/local/lib/virt-trim-control'), await readFile(findProgramFile('tiny-control.sh'), 'utf8'));
  await rm(path.join(root, 'var/cache/apt'), { recursive: true });
  const raw = path.join(directory, 'root.raw');
  await makeImage(root, 'vt-root', raw, 1024 ** 3);
  await runChecked('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path.join(directory, 'root.qcow2')], { timeoutMs });
  await rm(raw);
  await rm(root, { recursive: true });
}

/** What an administrator would copy into the guest, on a disk of its own: the agent, and all of `guest/init`. */
async function fillPayload(file: string): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-payload-'));
  await cp(path.resolve('guest/init'), directory, { recursive: true });
  await copyFile(ownAgentProgram, path.join(directory, 'virt-trim-agent'));
  await makeImage(directory, 'payload', file, payloadBytes);
  await rm(directory, { recursive: true });
}

const payloadBytes = 32 * 1024 ** 2;

/** A Debian under this init system, with our agent and its service files on `/dev/vdb`; it is off. */
export async function defineInitGuest(rig: Rig, init: InitSystem): Promise<Guest> {
  const name = init;
  if (init === 'systemd') {
    const guest = await defineDebianGuest(rig.hypervisor, { name, disks: [{ format: 'raw', filesystem: null, sizeBytes: payloadBytes }] });
    await fillPayload(guest.disk('vdb').file ?? '');
    return guest;
  }
  const { hypervisor } = rig;
  const base = await ensureCached(`debian-bookworm-${init}-1`, (directory) => buildBase(init, directory));
  const uuid = randomUUID();
  const directory = await imageDirectory(hypervisor, uuid);
  const kernel = await ensureKernel();
  const [image, initrd] = [path.join(directory, 'vmlinuz'), path.join(directory, 'initramfs')];
  await copyFile(kernel.image, image);
  const modules = kernel.loadOrder(['virtio_pci', 'virtio_blk', 'virtio_console']);
  await writeFile(initrd, await switchRootInitrd(modules.map((module) => path.join(kernel.modules, module))));
  const disk = (target: string, format: 'qcow2' | 'raw', mountpoint: string | null): Disk => {
    const file = path.join(directory, `${target}.${format}`);
    return { spec: {}, target, format, file, source: file, backingFile: null, mountpoint, label: target };
  };
  const disks = [disk('vda', 'qcow2', '/'), disk('vdb', 'raw', null)] as const;
  await copyFile(path.join(base, 'root.qcow2'), disks[0].file ?? '');
  await fillPayload(disks[1].file ?? '');
  for (const { file } of disks) await chmod(file ?? '', 0o666);
  await mkdir(directory, { recursive: true });
  return defineDomain(hypervisor, {
    name,
    uuid,
    disks,
    hasAgent: false,
    machine: undefined,
    memoryMiB: 256,
    kernel: image,
    initrd,
    commandLine: 'console=ttyS0 panic=-1 quiet loglevel=4 no_timer_check',
    channels: guestChannels(hypervisor, uuid, { agent: true, scripted: false }),
    edit: undefined,
  });
}
