import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { ensureCached, findCached } from './cache.ts';
import { runChecked } from './run-checked.ts';

/** `cloud` is small and quick to boot, but has no AHCI (SATA) driver; `generic` is Debian's usual kernel. */
export type KernelFlavour = 'cloud' | 'generic';

export interface GuestKernel {
  /** The compressed image, for `<kernel>`. */
  readonly image: string;
  readonly release: string;
  /** The folder that holds the modules, each at its path of `modules.dep`, unpacked. */
  readonly modules: string;
  /** Paths of a module and of all it needs, in the order to load them; empty for one that is built in. */
  loadOrder(names: readonly string[]): string[];
}

const metaPackages = { cloud: 'linux-image-cloud-amd64', generic: 'linux-image-amd64' } as const;
const aptTimeoutMs = 600_000;

/** Drivers that some guest of the demo or the tests can need. All else of the package is thrown away. */
const keptModules = (
  'virtio_pci virtio_blk virtio_scsi virtio_console virtio_rng sd_mod sr_mod evdev scsi_debug ata_piix ata_generic ahci loop ' +
  'xfs btrfs vfat isofs nls_cp437 nls_ascii nls_utf8 ext4 crc32c_generic overlay dm_mod dm_crypt dm_thin_pool dm_snapshot raid1 ' +
  'f2fs crc32_generic xts ecb'
).split(' ');

/** modules.dep (depmod(8)): `path: path path`, the nearest need first. Keyed by the name that insmod knows, with underscores. */
function parseDependencies(text: string): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [path, needs = ''] = line.split(':');
    const name = /([^/]+)\.ko(?:\.\w+)?$/.exec(path ?? '')?.[1];
    if (path === undefined || name === undefined) continue;
    byName.set(name.replaceAll('-', '_'), [...needs.trim().split(/\s+/).filter(Boolean).toReversed(), path]);
  }
  return byName;
}

function collect(dependencies: ReadonlyMap<string, string[]>, names: readonly string[]): string[] {
  return [...new Set(names.flatMap((name) => dependencies.get(name) ?? []))];
}

/** Debian 13 compresses modules one by one; busybox and old kernels want them plain. */
async function unpackModule(from: string, to: string): Promise<void> {
  await mkdir(join(to, '..'), { recursive: true });
  if (!from.endsWith('.xz')) return copyFile(from, to);
  await copyFile(from, `${to}.xz`);
  await runChecked('xz', ['--decompress', `${to}.xz`], { timeoutMs: 60_000 });
}

async function downloadKernel(packageName: string, directory: string, signal: AbortSignal | undefined): Promise<void> {
  const work = join(directory, 'work');
  await mkdir(work);
  await runChecked('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', packageName], {
    timeoutMs: aptTimeoutMs,
    cwd: work,
    signal,
  });
  const archive = (await readdir(work)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new AppError('tool-failed', `apt-get download ${packageName}: no package came`);
  await runChecked('dpkg', ['-x', archive, 'tree'], { timeoutMs: aptTimeoutMs, cwd: work, signal });
  const tree = join(work, 'tree');
  // Debian 13 has them below /usr; depmod looks below BASE/lib/modules only.
  const base = existsSync(join(tree, 'lib/modules')) ? tree : join(tree, 'usr');
  const root = join(base, 'lib/modules');
  const release = (await readdir(root))[0];
  if (release === undefined) throw new AppError('tool-failed', `${packageName}: holds no modules`);
  await runChecked('depmod', ['-b', base, release], { timeoutMs: 60_000 });
  const dependencies = parseDependencies(await readFile(join(root, release, 'modules.dep'), 'utf8'));
  for (const path of collect(dependencies, keptModules)) {
    await unpackModule(join(root, release, path), join(directory, 'modules', path.replace(/\.xz$/, '')));
  }
  const kept = new Set(collect(dependencies, keptModules));
  const lines = [...dependencies.values()]
    .filter((paths) => kept.has(paths.at(-1) ?? ''))
    .map((paths) => `${paths.at(-1)}: ${paths.slice(0, -1).toReversed().join(' ')}`);
  await writeFile(join(directory, 'modules.dep'), `${lines.join('\n').replaceAll('.ko.xz', '.ko')}\n`);
  await copyFile(join(tree, 'boot', `vmlinuz-${release}`), join(directory, 'vmlinuz'));
  await writeFile(join(directory, 'release'), release);
  await rm(work, { recursive: true });
}

/** The package that the meta package of this Debian release points to. */
async function findKernelPackage(flavour: KernelFlavour): Promise<string> {
  const text = await runChecked('apt-cache', ['depends', metaPackages[flavour]], { timeoutMs: 60_000 });
  const name = /Depends: (linux-image-\S+)/.exec(text)?.[1];
  if (name === undefined) {
    throw new AppError(
      'tool-failed',
      `apt knows no package ${metaPackages[flavour]}; run apt-get update and look at /etc/apt/sources.list`,
    );
  }
  return name;
}

/**
 * Debian's kernel and the modules a small guest needs, downloaded once and kept; nothing is installed on this machine.
 * @throws AppError `tool-failed` where apt cannot give it, `interrupted`.
 */
export async function ensureKernel(flavour: KernelFlavour = 'cloud', signal?: AbortSignal): Promise<GuestKernel> {
  // The number grows with the list of modules: what an older version kept may lack some.
  const prefix = `kernel-${flavour}-2-`;
  let directory = await findCached(prefix);
  if (directory === null) {
    const packageName = await findKernelPackage(flavour);
    directory = await ensureCached(prefix + packageName, (unfinished) => downloadKernel(packageName, unfinished, signal));
  }
  const dependencies = parseDependencies(await readFile(join(directory, 'modules.dep'), 'utf8'));
  return {
    image: join(directory, 'vmlinuz'),
    release: (await readFile(join(directory, 'release'), 'utf8')).trim(),
    modules: join(directory, 'modules'),
    loadOrder: (names) => collect(dependencies, names),
  };
}
