import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDirectory } from './cache.ts';

/**
 * What libvirt found out about QEMU, which takes it some two seconds. It checks by itself whether a file still fits (times of the
 * QEMU and libvirt programs, kernel, CPU microcode), so a stale one costs nothing but its time.
 */
function keptCapabilities(): string {
  return join(cacheDirectory(), 'qemu-capabilities');
}

async function copyChanged(from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    if (!name.endsWith('.xml')) continue;
    const target = join(to, name);
    const content = await readFile(join(from, name));
    if (existsSync(target) && content.equals(await readFile(target))) continue;
    const unfinished = `${target}.${randomBytes(4).toString('hex')}`;
    await writeFile(unfinished, content);
    await rename(unfinished, target);
  }
}

/** Gives a hypervisor that has not started yet what an earlier one found out. */
export async function seedCapabilities(hypervisorCache: string): Promise<void> {
  await copyChanged(keptCapabilities(), join(hypervisorCache, 'qemu/capabilities'));
}

/** Keeps what this one found out. */
export async function keepCapabilities(hypervisorCache: string): Promise<void> {
  await copyChanged(join(hypervisorCache, 'qemu/capabilities'), keptCapabilities());
}
