import { randomUUID } from 'node:crypto';
import { chmod, copyFile, readFile, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Element } from '@xmldom/xmldom';
import { ensureCached } from '../../host/demo/cache.ts';
import { defineDomain, guestChannels, imageDirectory } from '../../host/demo/define-domain.ts';
import { createDisks, type Disk, type DiskBus, type DiskSpec } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import type { Hypervisor } from '../../host/demo/hypervisor.ts';
import { findProgramFile } from '../../host/demo/program-file.ts';
import { runChecked } from '../../host/demo/run-checked.ts';

export type DebianRelease = 'bookworm' | 'trixie';

export interface DebianGuestSpec {
  readonly name: string;
  /** Default bookworm. */
  readonly release?: DebianRelease | undefined;
  readonly machine?: string | undefined;
  /** Default 512. */
  readonly memoryMiB?: number | undefined;
  readonly channel?: boolean | undefined;
  /** The root disk, an ext4. Default: a qcow2 copy of its own on virtio-blk with discard; `backing` makes an overlay on one instead. */
  readonly root?: Pick<DiskSpec, 'bus' | 'format' | 'discard' | 'backing'> | undefined;
  /** Further disks, mounted at /mnt/TARGET as in the tiny guest. */
  readonly disks?: readonly DiskSpec[] | undefined;
  readonly edit?: ((domain: Element) => void) | undefined;
}

const rootBytes = 4 * 1024 ** 3;
const buildTimeoutMs = 900_000;
/** The whole system, and the tools that tests of LVM, LUKS and file systems want in it. */
const packages = [
  ...'systemd-sysv qemu-guest-agent linux-image-cloud-amd64 initramfs-tools udev kmod util-linux dbus'.split(' '),
  ...'e2fsprogs xfsprogs btrfs-progs dosfstools lvm2 cryptsetup-bin thin-provisioning-tools procps'.split(' '),
];

const controlUnit = `[Unit]
Description=The test's hand in this guest
DefaultDependencies=no
After=local-fs.target systemd-udevd.service

[Service]
ExecStart=/bin/sh /run/virt-trim-control
ExecStartPre=/bin/cp /usr/local/lib/virt-trim-control /run/virt-trim-control
ExecStartPre=/bin/sh -c ': >/run/booted'
Restart=always

[Install]
WantedBy=multi-user.target
`;

/** Mounts what the rig made on the host, by its labels, as the tiny guest does. */
const mountUnit = `[Unit]
Description=Disks of the test
DefaultDependencies=no
Before=local-fs.target
After=systemd-udevd.service systemd-udev-trigger.service
ConditionKernelCommandLine=virt-trim.mounts

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/lib/virt-trim-mounts

[Install]
WantedBy=local-fs.target
`;

const mountProgram = `for word in $(cat /proc/cmdline); do
  case $word in virt-trim.mounts=*) list=\${word#*=} ;; esac
done
IFS=,
for item in $list; do
  label=\${item%%:*} rest=\${item#*:}
  udevadm wait --timeout=20 "/dev/disk/by-label/$label"
  mkdir -p "\${rest#*:}"
  mount -t "\${rest%%:*}" "LABEL=$label" "\${rest#*:}"
done
`;

async function configure(root: string): Promise<void> {
  const files: Record<string, string> = {
    'etc/fstab': 'LABEL=vt-root / ext4 rw,relatime 0 1\n',
    'etc/hostname': 'virt-trim-debian\n',
    'etc/systemd/system/virt-trim-control.service': controlUnit,
    'etc/systemd/system/virt-trim-mounts.service': mountUnit,
    'usr/local/lib/virt-trim-control': await readFile(findProgramFile('tiny-control.sh'), 'utf8'),
    'usr/local/lib/virt-trim-mounts': mountProgram,
  };
  for (const [path, content] of Object.entries(files)) await writeFile(join(root, path), content);
  const enable = ['systemctl', '--root', root, 'enable', 'virt-trim-control.service', 'virt-trim-mounts.service'];
  await runChecked(enable[0] ?? '', enable.slice(1), { timeoutMs: 60_000 });
  // Timers of a machine that was just installed would write while a test measures.
  await runChecked(
    'systemctl',
    ['--root', root, 'mask', 'apt-daily.timer', 'apt-daily-upgrade.timer', 'fstrim.timer', 'e2scrub_all.timer'],
    {
      timeoutMs: 60_000,
    },
  );
}

async function buildBase(release: DebianRelease, directory: string): Promise<void> {
  const root = join(directory, 'root');
  const include = `--include=${packages.join(',')}`;
  await runChecked('debootstrap', ['--variant=minbase', include, release, root, 'http://deb.debian.org/debian'], {
    timeoutMs: buildTimeoutMs,
  });
  await configure(root);
  await rm(join(root, 'var/cache/apt/archives'), { recursive: true });
  for (const name of await readdir(join(root, 'boot'))) {
    if (name.startsWith('vmlinuz-')) await copyFile(join(root, 'boot', name), join(directory, 'vmlinuz'));
    if (name.startsWith('initrd.img-')) await rename(join(root, 'boot', name), join(directory, 'initrd'));
  }
  const raw = join(directory, 'root.raw');
  await writeFile(raw, '');
  await truncate(raw, rootBytes);
  const noLater = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  await runChecked('mkfs.ext4', ['-q', '-L', 'vt-root', '-E', noLater, '-d', root, raw], { timeoutMs: buildTimeoutMs });
  await runChecked('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(directory, 'root.qcow2')], { timeoutMs: buildTimeoutMs });
  await rm(raw);
  await rm(root, { recursive: true });
  await chmod(join(directory, 'root.qcow2'), 0o444);
}

/** A bootable Debian, made once (a minute or two) and kept: `root.qcow2`, `vmlinuz`, `initrd`. */
export function ensureDebianBase(release: DebianRelease = 'bookworm'): Promise<string> {
  return ensureCached(`debian-${release}-1`, (directory) => buildBase(release, directory));
}

async function createRoot(base: string, directory: string, spec: NonNullable<DebianGuestSpec['root']>): Promise<Disk> {
  const format = spec.format ?? 'qcow2';
  const bus: DiskBus = spec.bus ?? 'virtio';
  const target = bus === 'virtio' ? 'vda' : 'sda';
  const file = join(directory, `${target}.${format}`);
  const image = join(base, 'root.qcow2');
  let backingFile: string | null = null;
  if (spec.backing === true) {
    backingFile = join(directory, `${target}-base.qcow2`);
    await copyFile(image, backingFile);
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backingFile, '-F', 'qcow2', file], { timeoutMs: buildTimeoutMs });
  } else {
    await runChecked('qemu-img', ['convert', '-f', 'qcow2', '-O', format, image, file], { timeoutMs: buildTimeoutMs });
  }
  return { spec: { ...spec, bus, filesystem: 'ext4' }, target, format, file, source: file, backingFile, mountpoint: '/', label: 'vt-root' };
}

/** A whole Debian: systemd, udev, the package's own qemu-guest-agent service. Boots in some 20 seconds under software emulation. */
export async function defineDebianGuest(hypervisor: Hypervisor, spec: DebianGuestSpec): Promise<Guest> {
  const uuid = randomUUID();
  const base = await ensureDebianBase(spec.release);
  const directory = await imageDirectory(hypervisor, uuid);
  const root = await createRoot(base, directory, spec.root ?? {});
  const further = await createDisks(hypervisor, directory, spec.disks ?? [], new Map([[root.target.slice(0, 2), 1]]));
  const [kernel, initrd] = [join(directory, 'vmlinuz'), join(directory, 'initrd')];
  await copyFile(join(base, 'vmlinuz'), kernel);
  await copyFile(join(base, 'initrd'), initrd);
  const mounts = further
    .filter((disk) => disk.mountpoint !== null)
    .map((disk) => `${disk.label}:${disk.spec.filesystem ?? 'ext4'}:${disk.mountpoint}`);
  const words = ['console=ttyS0', 'root=LABEL=vt-root', 'rw', 'quiet', 'loglevel=4', 'panic=-1', 'no_timer_check'];
  if (mounts.length > 0) words.push(`virt-trim.mounts=${mounts.join(',')}`);
  return defineDomain(hypervisor, {
    name: spec.name,
    uuid,
    disks: [root, ...further],
    hasAgent: spec.channel !== false,
    machine: spec.machine,
    memoryMiB: spec.memoryMiB ?? 512,
    kernel,
    initrd,
    commandLine: words.join(' '),
    channels: guestChannels(hypervisor, uuid, { agent: spec.channel !== false, scripted: false }),
    edit: spec.edit,
  });
}
