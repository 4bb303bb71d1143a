import { readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type ArchiveEntry, fileMode, packArchive } from './cpio.ts';
import type { Disk } from './disk-image.ts';
import type { GuestKernel } from './kernel.ts';
import { findProgramFile } from './program-file.ts';
import { runChecked } from './run-checked.ts';

/** What the tiny guest's boot program finds in /rig. */
export interface TinyContents {
  readonly hostname: string;
  readonly kernel: GuestKernel;
  /** Drivers beyond the virtio ones, by module name. */
  readonly modules: readonly string[];
  readonly disks: readonly Disk[];
  /** Names of all virtio ports that the XML has. */
  readonly ports: readonly string[];
  /** Shell lines, run after the disks are mounted. */
  readonly steps: readonly string[];
  readonly agentKind: string;
  /** The agent's program on the host, null where none is copied. */
  readonly agentProgram: string | null;
  readonly agentArguments: readonly string[];
  /** Further programs of the host, copied to the same path with the libraries they need. */
  readonly programs: readonly string[];
  /** Further files: guest path → text. */
  readonly files: Readonly<Record<string, string>>;
}

const baseModules = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'virtio_console'];
const filesystemModules: Readonly<Record<string, readonly string[]>> = {
  ext4: ['ext4', 'crc32c_generic'],
  vfat: ['vfat', 'nls_cp437', 'nls_ascii', 'nls_utf8'],
  xfs: ['xfs', 'crc32c_generic'],
  btrfs: ['btrfs', 'crc32c_generic'],
  f2fs: ['f2fs', 'crc32_generic'], // Debian's usual kernel has it, the cloud one does not
};
const busModules: Readonly<Record<string, readonly string[]>> = { ide: ['ata_piix', 'ata_generic'], sata: ['ahci'] };

function program(path: string, content: Uint8Array): ArchiveEntry {
  return { path: path.replace(/^\/+/, ''), mode: fileMode.program, content };
}

function text(path: string, content: string): ArchiveEntry {
  return { path: path.replace(/^\/+/, ''), mode: fileMode.file, content: Buffer.from(content) };
}

function lines(values: readonly string[]): string {
  return values.map((value) => `${value}\n`).join('');
}

/** The files that the dynamic linker would load, at the paths it looks them up (ldd(1)). None for a static program. */
async function librariesOf(path: string): Promise<string[]> {
  const listed = await runChecked('ldd', [path], { timeoutMs: 10_000 }).catch((error: unknown) => {
    if (String(error).includes('not a dynamic executable')) return '';
    throw error;
  });
  return [...listed.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
}

async function copyWithLibraries(path: string, guestPath = path): Promise<ArchiveEntry[]> {
  const entries = [program(guestPath, await readFile(await realpath(path)))];
  for (const library of await librariesOf(path)) entries.push(program(library, await readFile(library)));
  return entries;
}

/** All in one folder: insmod takes a path, and names of modules are unique. */
function guestModulePath(path: string): string {
  return `/lib/modules/${basename(path)}`;
}

function neededModules(contents: TinyContents): string[] {
  const names = [...baseModules, ...contents.modules];
  for (const { spec, mountpoint } of contents.disks) {
    names.push(...(busModules[spec.bus ?? 'virtio'] ?? []));
    if (mountpoint !== null) names.push(...(filesystemModules[spec.filesystem ?? 'ext4'] ?? []));
    if (spec.cdrom !== undefined) names.push('sr_mod', 'isofs');
  }
  return contents.kernel.loadOrder([...new Set(names)]);
}

/** Builds the tiny guest's whole userland: busybox, our three shell programs, drivers, the agent, and what /rig says. */
export async function buildInitramfs(contents: TinyContents): Promise<Buffer> {
  const mounts = contents.disks
    .filter((disk) => disk.mountpoint !== null)
    .map((disk) => [disk.label, disk.spec.filesystem ?? 'ext4', disk.mountpoint, disk.spec.mountOptions ?? 'rw'].join(' '));
  const modules = neededModules(contents);
  const applets = (await runChecked('busybox', ['--list'], { timeoutMs: 10_000 })).trim().split('\n');
  const entries: ArchiveEntry[] = [
    program('bin/busybox', await readFile('/bin/busybox')),
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name) => ({ path: `bin/${name}`, mode: fileMode.link, content: Buffer.from('busybox') })),
    { path: 'sbin/init', mode: fileMode.link, content: Buffer.from('../bin/busybox') },
    // QEMU's agent calls these two names (guest-shutdown), and busybox has neither.
    program('sbin/shutdown', Buffer.from('#!/bin/sh\nsync\ncase "$*" in *-r*) exec reboot -f ;; *) exec poweroff -f ;; esac\n')),
    text('etc/inittab', '::sysinit:/rig/boot\n::respawn:/rig/control\n::restart:/sbin/init\n'),
    text('etc/hostname', `${contents.hostname}\n`),
    text('etc/os-release', 'NAME="virt-trim tiny guest"\nID=virt-trim-tiny\nVERSION_ID="1"\nPRETTY_NAME="virt-trim tiny guest"\n'),
    text('etc/passwd', 'root::0:0:root:/:/bin/sh\n'),
    text('etc/group', 'root:x:0:\n'),
    program('rig/boot', await readFile(findProgramFile('tiny-boot.sh'))),
    program('rig/control', await readFile(findProgramFile('tiny-control.sh'))),
    program('rig/agent', await readFile(findProgramFile('tiny-agent.sh'))),
    text('rig/modules', lines(modules.map(guestModulePath))),
    text('rig/ports', lines(contents.ports)),
    text('rig/mounts', lines(mounts)),
    text('rig/steps.sh', lines(contents.steps)),
    text('rig/agent-kind', `${contents.agentKind}\n`),
    text('rig/agent-arguments', lines(contents.agentArguments)),
    ...Object.entries(contents.files).map(([path, content]) => text(path, content)),
  ];
  for (const path of modules) {
    entries.push({
      path: guestModulePath(path).slice(1),
      mode: fileMode.file,
      content: await readFile(join(contents.kernel.modules, path)),
    });
  }
  if (contents.agentProgram !== null) entries.push(...(await copyWithLibraries(contents.agentProgram, '/rig/agent-program')));
  for (const path of contents.programs) entries.push(...(await copyWithLibraries(path)));
  return packArchive(entries);
}
