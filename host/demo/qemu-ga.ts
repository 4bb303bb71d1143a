import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { ensureCached } from './cache.ts';
import { runChecked } from './run-checked.ts';

const installed = '/usr/sbin/qemu-ga';
const packageName = 'qemu-guest-agent';
const timeoutMs = 300_000;

async function download(directory: string, signal: AbortSignal | undefined): Promise<void> {
  const work = join(directory, 'work');
  await mkdir(work);
  await runChecked('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', packageName], { timeoutMs, cwd: work, signal });
  const archive = (await readdir(work)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new AppError('tool-failed', `apt-get download ${packageName}: no package came`);
  await runChecked('dpkg', ['-x', archive, 'tree'], { timeoutMs, cwd: work, signal });
  await rename(join(work, 'tree/usr/sbin/qemu-ga'), join(directory, 'qemu-ga'));
  await rm(work, { recursive: true });
}

/** Debian's QEMU guest agent as a program to copy into a guest: the installed one, else unpacked from its package and not installed. */
export async function ensureQemuGa(signal?: AbortSignal): Promise<string> {
  if (existsSync(installed)) return installed;
  return join(await ensureCached(packageName, (directory) => download(directory, signal)), 'qemu-ga');
}
