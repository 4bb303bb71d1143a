import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import { runChecked } from './run-checked.ts';

export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide';
export type FilesystemType = 'ext4' | 'xfs' | 'btrfs' | 'vfat' | 'f2fs';

export interface DiskSpec {
  /** Default virtio. */
  readonly bus?: DiskBus | undefined;
  /** Default qcow2. */
  readonly format?: 'qcow2' | 'raw' | undefined;
  /** The driver's `discard` attribute; null leaves it out. Default unmap. */
  readonly discard?: 'unmap' | 'ignore' | null | undefined;
  readonly detectZeroes?: 'off' | 'on' | 'unmap' | undefined;
  /** Made on the host, mounted in the guest. Default ext4; null leaves the disk empty. */
  readonly filesystem?: FilesystemType | null | undefined;
  /** Default 1 GiB. */
  readonly sizeBytes?: number | undefined;
  /** Default /mnt/TARGET. */
  readonly mountpoint?: string | undefined;
  /** Default `rw`. */
  readonly mountOptions?: string | undefined;
  /** The file system lies in a backing file, and the disk is an empty overlay on it. */
  readonly backing?: boolean | undefined;
  /** An internal snapshot of this name, taken after the file system was made. qcow2 only. */
  readonly internalSnapshot?: string | undefined;
  readonly preallocation?: 'off' | 'metadata' | 'falloc' | 'full' | undefined;
  /** Further `qemu-img create -o` options of a qcow2, such as `compat=0.10` or `cluster_size=2M`. */
  readonly imageOptions?: readonly string[] | undefined;
  /** A block device: a loop device of the host on the image file. */
  readonly block?: boolean | undefined;
  /** The block device's own size, in which a qcow2 grows. Default an eighth more than `sizeBytes`. */
  readonly blockBytes?: number | undefined;
  readonly readonly?: boolean | undefined;
  readonly shareable?: boolean | undefined;
  /** A CD drive instead of a disk; `empty` without a medium. */
  readonly cdrom?: 'empty' | 'medium' | undefined;
  readonly serial?: string | undefined;
}

export interface Disk {
  readonly spec: DiskSpec;
  /** `vda`, `sda`, `hda`: the XML's name, and nearly always the guest's. */
  readonly target: string;
  readonly format: 'qcow2' | 'raw';
  /** The image file on the host; null for an empty drive. */
  readonly file: string | null;
  /** What the XML names: the image file or its loop device. */
  readonly source: string | null;
  readonly backingFile: string | null;
  /** Where the guest mounts it, null where there is no file system. */
  readonly mountpoint: string | null;
  readonly label: string;
}

export const defaultDiskBytes = 1024 ** 3;
const timeoutMs = 300_000;

/** Everything is written while the file is made: nothing is left for the guest's kernel to initialise later, which would move sizes. */
const makeFilesystem: Readonly<Record<FilesystemType, (file: string, label: string) => [string, string[]]>> = {
  ext4: (file, label) => ['mkfs.ext4', ['-q', '-F', '-L', label, '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard', file]],
  xfs: (file, label) => ['mkfs.xfs', ['-q', '-f', '-K', '-L', label, file]],
  btrfs: (file, label) => ['mkfs.btrfs', ['-q', '-f', '-K', '-L', label, file]],
  f2fs: (file, label) => ['mkfs.f2fs', ['-q', '-f', '-t', '0', '-l', label, file]],
  vfat: (file, label) => ['busybox', ['mkdosfs', '-n', label, file]],
};

async function writeImage(disk: Disk, raw: string, file: string): Promise<void> {
  const { spec, format } = disk;
  const options = [...(spec.imageOptions ?? [])];
  if (spec.preallocation !== undefined) options.push(`preallocation=${spec.preallocation}`);
  const size = String(spec.sizeBytes ?? defaultDiskBytes);
  const create = ['create', '-q', '-f', format, ...options.flatMap((option) => ['-o', option])];
  await runChecked('qemu-img', [...create, file, size], { timeoutMs });
  // Without --target-is-zero it would punch the source's holes into a preallocated image.
  await runChecked('qemu-img', ['convert', '-n', '--target-is-zero', '-f', 'raw', '-O', format, raw, file], { timeoutMs });
}

async function attachLoop(hypervisor: Hypervisor, disk: Disk, file: string): Promise<string> {
  const { sizeBytes = defaultDiskBytes, blockBytes = sizeBytes + sizeBytes / 8 } = disk.spec;
  if (disk.format === 'qcow2') await truncate(file, blockBytes);
  const device = (await runChecked('losetup', ['--find', '--show', file], { timeoutMs: 10_000 })).trim();
  // The namespace has a /dev of its own: the node is made there too, and libvirt may change its owner there.
  const minor = /\d+$/.exec(device)?.[0] ?? '';
  const made = await hypervisor.enter('mknod', [device, 'b', '7', minor]);
  if (made.exitCode !== 0 && !made.stderr.includes('exists')) throw new AppError('tool-failed', `mknod ${device}: ${made.stderr.trim()}`);
  return device;
}

/** Names the disk in the XML and in the guest; `taken` counts the letters given away per prefix. */
function chooseTarget(spec: DiskSpec, taken: Map<string, number>): string {
  const prefix = { virtio: 'vd', scsi: 'sd', sata: 'sd', ide: 'hd' }[spec.bus ?? 'virtio'];
  const index = taken.get(prefix) ?? 0;
  taken.set(prefix, index + 1);
  return prefix + String.fromCodePoint('a'.codePointAt(0)! + index);
}

async function createDisk(hypervisor: Hypervisor, directory: string, spec: DiskSpec, target: string): Promise<Disk> {
  const filesystem = spec.cdrom === undefined ? (spec.filesystem === undefined ? 'ext4' : spec.filesystem) : null;
  const format = spec.cdrom === undefined ? (spec.format ?? 'qcow2') : 'raw';
  const label = `vt-${target}`;
  const base: Disk = {
    spec,
    target,
    format,
    label,
    backingFile: null,
    file: null,
    source: null,
    mountpoint: filesystem === null ? null : (spec.mountpoint ?? `/mnt/${target}`),
  };
  if (spec.cdrom === 'empty') return base;
  const file = join(directory, `${target}.${format}`);
  const raw = join(directory, `${target}.new`);
  await writeFile(raw, '');
  await truncate(raw, spec.sizeBytes ?? defaultDiskBytes);
  if (filesystem !== null) await runChecked(...makeFilesystem[filesystem](raw, label), { timeoutMs });
  let backingFile: string | null = null;
  if (spec.backing === true) {
    backingFile = join(directory, `${target}-base.${format}`);
    await writeImage(base, raw, backingFile);
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backingFile, '-F', format, file], { timeoutMs });
  } else {
    await writeImage(base, raw, file);
  }
  await rm(raw);
  if (spec.internalSnapshot !== undefined)
    await runChecked('qemu-img', ['snapshot', '-q', '-c', spec.internalSnapshot, file], { timeoutMs });
  return { ...base, file, backingFile, source: spec.block === true ? await attachLoop(hypervisor, base, file) : file };
}

/** Makes a guest's images in `directory`, in the order given. `taken` are the targets given away already. */
export async function createDisks(
  hypervisor: Hypervisor,
  directory: string,
  specs: readonly DiskSpec[],
  taken = new Map<string, number>(),
): Promise<Disk[]> {
  const disks: Disk[] = [];
  for (const spec of specs) disks.push(await createDisk(hypervisor, directory, spec, chooseTarget(spec, taken)));
  return disks;
}
