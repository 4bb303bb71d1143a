import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runPrivateApt } from './apt.ts';
import { cacheDirectory } from './cache.ts';
import { BuildError, run } from './process.ts';

export const architectures = ['x86_64', 'aarch64'] as const;
export type Architecture = (typeof architectures)[number];

/** Where a compiler, musl and the kernel's headers for one machine are. */
export interface Toolchain {
  readonly architecture: Architecture;
  readonly compiler: string;
  readonly strip: string;
  /** musl's headers, then the directory that holds the kernel's `linux/`, `asm-generic/` and `asm/`. */
  readonly includes: readonly string[];
  /** rcrt1.o, crti.o, libc.a, crtn.o */
  readonly libraries: string;
}

interface Needed {
  readonly file: string;
  readonly package: string;
}

const needed: Readonly<Record<Architecture, readonly Needed[]>> = {
  x86_64: [
    { file: '/usr/bin/gcc', package: 'gcc' },
    { file: '/usr/bin/ld', package: 'binutils' },
    { file: '/usr/lib/x86_64-linux-musl/rcrt1.o', package: 'musl-dev' },
    { file: '/usr/include/linux/fs.h', package: 'linux-libc-dev' },
    { file: '/usr/include/stdio.h', package: 'libc6-dev' },
    { file: '/usr/bin/xz', package: 'xz-utils' },
  ],
  aarch64: [
    { file: '/usr/bin/gcc', package: 'gcc' },
    { file: '/usr/include/stdio.h', package: 'libc6-dev' },
    { file: '/usr/bin/xz', package: 'xz-utils' },
    { file: '/usr/bin/aarch64-linux-gnu-gcc', package: 'gcc-aarch64-linux-gnu' },
    { file: '/usr/aarch64-linux-gnu/include/linux/fs.h', package: 'linux-libc-dev-arm64-cross' },
  ],
};

/** @throws BuildError that names the packages which are missing and could not be installed */
export function obtainToolchain(architecture: Architecture): Toolchain {
  installMissing(architecture);
  return architecture === 'x86_64'
    ? {
        architecture,
        compiler: '/usr/bin/gcc',
        strip: '/usr/bin/strip',
        includes: ['/usr/include/x86_64-linux-musl', linkHeaders('x86_64', '/usr/include', '/usr/include/x86_64-linux-gnu')],
        libraries: '/usr/lib/x86_64-linux-musl',
      }
    : obtainCrossToolchain();
}

function obtainCrossToolchain(): Toolchain {
  const musl = obtainCrossMusl();
  const headers = '/usr/aarch64-linux-gnu/include';
  return {
    architecture: 'aarch64',
    compiler: '/usr/bin/aarch64-linux-gnu-gcc',
    strip: '/usr/bin/aarch64-linux-gnu-strip',
    includes: [join(musl, 'usr/include/aarch64-linux-musl'), linkHeaders('aarch64', headers, headers)],
    libraries: join(musl, 'usr/lib/aarch64-linux-musl'),
  };
}

function installMissing(architecture: Architecture): void {
  const missing = [...new Set(needed[architecture].filter((it) => !existsSync(it.file)).map((it) => it.package))];
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) throw new BuildError(`missing for ${architecture}: apt-get install ${missing.join(' ')}`);
  process.stderr.write(`installing ${missing.join(' ')}\n`);
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], { env: { DEBIAN_FRONTEND: 'noninteractive' } });
}

/** Debian has no cross package of musl: arm64's own is unpacked by hand. */
function obtainCrossMusl(): string {
  const suite = debianSuite();
  const directory = join(cacheDirectory('musl'), `arm64-${suite}`);
  if (existsSync(directory)) return directory;
  const fetched = cacheDirectory('apt-arm64');
  runPrivateApt(fetched, { suite, type: 'deb', architecture: 'arm64' }, ['download', 'musl-dev:arm64']);
  const archive = readdirSync(fetched).find((name) => name.startsWith('musl-dev_') && name.endsWith('_arm64.deb'));
  if (archive === undefined) throw new BuildError(`apt-get download musl-dev:arm64 left nothing in ${fetched}`);
  const temporary = `${directory}.${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  run('dpkg-deb', ['-x', join(fetched, archive), temporary]);
  if (existsSync(directory)) rmSync(temporary, { recursive: true });
  else renameSync(temporary, directory);
  return directory;
}

/** The same musl as the machine's own, so that both binaries have one libc. */
function debianSuite(): string {
  const match = /^VERSION_CODENAME=(\w+)$/m.exec(run('cat', ['/etc/os-release']));
  return match?.[1] ?? 'bookworm';
}

/** musl has no kernel headers: a directory with links to Debian's, and nothing of glibc's in reach. */
function linkHeaders(architecture: Architecture, common: string, own: string): string {
  const directory = cacheDirectory('headers', architecture);
  run('ln', ['-sfn', join(common, 'linux'), join(directory, 'linux')]);
  run('ln', ['-sfn', join(common, 'asm-generic'), join(directory, 'asm-generic')]);
  run('ln', ['-sfn', join(own, 'asm'), join(directory, 'asm')]);
  return directory;
}
