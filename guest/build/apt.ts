import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BuildError, run } from './process.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
const fallbackMirror = 'http://deb.debian.org/debian';

/** Where this machine gets Debian from: the first mirror in /etc/apt that ends in `/debian`, in either of apt's two formats. */
function findMirror(): string {
  const files = ['/etc/apt/sources.list', ...listSources('/etc/apt/sources.list.d')];
  for (const file of files.filter((it) => existsSync(it))) {
    const match = /^\s*(?:URIs:|deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?)\s*(\S+\/debian\/?)(?:\s|$)/m.exec(readFileSync(file, 'utf8'));
    if (match?.[1] !== undefined) return match[1].replace(/\/$/, '');
  }
  return fallbackMirror;
}

function listSources(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .sort()
    .map((name) => join(directory, name));
}

export interface AptSource {
  readonly suite: string;
  readonly type: 'deb' | 'deb-src';
  readonly architecture?: string;
}

/**
 * apt with a source list, package lists and a cache of its own below `directory`: nothing of the machine's package state is
 * touched. Proxies and other settings of /etc/apt/apt.conf.d hold. What is fetched is checked by hash by whoever asked for it.
 * @throws BuildError
 */
export function runPrivateApt(directory: string, source: AptSource, args: readonly string[]): void {
  if (!existsSync('/usr/bin/apt-get')) throw new BuildError('apt-get is needed to fetch Debian packages, and this machine has none');
  for (const part of ['lists/partial', 'cache/archives/partial', 'parts']) mkdirSync(join(directory, part), { recursive: true });
  const options = [
    ...(source.architecture === undefined ? [] : [`arch=${source.architecture}`]),
    ...(existsSync(keyring) ? [`signed-by=${keyring}`] : ['trusted=yes']),
  ];
  const list = join(directory, 'sources.list');
  writeFileSync(list, `${source.type} [${options.join(' ')}] ${findMirror()} ${source.suite} main\n`);
  const settings = [
    ['Dir::Etc::sourcelist', list],
    ['Dir::Etc::sourceparts', join(directory, 'parts')],
    ['Dir::State::lists', join(directory, 'lists')],
    ['Dir::State::status', '/dev/null'],
    ['Dir::Cache', join(directory, 'cache')],
    // As root apt would give the download to a user who may not write here.
    ['APT::Sandbox::User', 'root'],
    ...(source.architecture === undefined ? [] : [['APT::Architectures', source.architecture]]),
  ].flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  run('apt-get', [...settings, '-q', 'update'], { cwd: directory });
  run('apt-get', [...settings, '-q', ...args], { cwd: directory });
}
