import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { runPrivateApt } from './apt.ts';
import { cacheDirectory, hashFile } from './cache.ts';
import { BuildError, run } from './process.ts';

/** QuickJS as Debian trixie's source package `quickjs` has it. It is built unpatched and never committed. */
export const engine = {
  name: 'QuickJS',
  version: '2025-04-26',
  debianSource: 'quickjs',
  debianSuite: 'trixie',
  archive: 'quickjs_2025.04.26.orig.tar.xz',
  sha256: 'ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe',
} as const;

export interface EngineSource {
  readonly directory: string;
  /** How it was come by, for the build's record. */
  readonly obtained: 'environment' | 'cache' | 'apt';
}

/** Names a directory that has the archive. */
const directoryVariable = 'VIRT_TRIM_QUICKJS_DIR';

/**
 * The engine's unpacked source. The archive comes from the directory that `VIRT_TRIM_QUICKJS_DIR` names, else from the cache, else
 * from Debian; its SHA-256 is checked each time. @throws BuildError
 */
export function obtainEngine(): EngineSource {
  const cache = cacheDirectory('engine');
  const archive = join(cache, engine.archive);
  const given = process.env[directoryVariable];
  let obtained: EngineSource['obtained'] = 'cache';
  if (given !== undefined) {
    const theirs = join(given, engine.archive);
    if (!existsSync(theirs)) throw new BuildError(`${directoryVariable} is ${given}, but ${engine.archive} is not there`);
    verify(theirs);
    copyFileSync(theirs, archive);
    obtained = 'environment';
  } else if (!existsSync(archive)) {
    fetchArchive(cache, archive);
    obtained = 'apt';
  }
  verify(archive);
  return { directory: unpack(cache, archive), obtained };
}

function fetchArchive(cache: string, archive: string): void {
  const directory = cacheDirectory('apt-source');
  runPrivateApt(directory, { suite: engine.debianSuite, type: 'deb-src' }, ['source', '--download-only', engine.debianSource]);
  const fetched = join(directory, engine.archive);
  if (!existsSync(fetched)) {
    const found = readdirSync(directory).filter((name) => name.startsWith(engine.debianSource));
    throw new BuildError(
      `Debian ${engine.debianSuite} no longer has ${engine.archive} (it has ${found.join(', ') || 'nothing'}); ` +
        `put the archive into a directory and name that in ${directoryVariable}`,
    );
  }
  verify(fetched);
  const temporary = join(cache, `${engine.archive}.${process.pid}`);
  copyFileSync(fetched, temporary);
  renameSync(temporary, archive);
}

function verify(archive: string): void {
  const sha256 = hashFile(archive);
  if (sha256 !== engine.sha256) throw new BuildError(`${archive} is not what was reviewed: sha256 ${sha256}, expected ${engine.sha256}`);
}

function unpack(cache: string, archive: string): string {
  const directory = join(cache, `quickjs-${engine.sha256.slice(0, 16)}`);
  if (existsSync(directory)) return directory;
  const temporary = mkdtempSync(join(cache, 'unpack-'));
  run('tar', ['-xJf', archive, '-C', temporary, '--strip-components=1']);
  try {
    renameSync(temporary, directory);
  } catch (thrown) {
    // Another build was quicker.
    rmSync(temporary, { recursive: true });
    if (!existsSync(directory)) throw thrown;
  }
  return directory;
}
