import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What the demo and the tests download is kept here between runs. VIRT_TRIM_DEMO_CACHE names another folder. */
export function cacheDirectory(): string {
  return process.env['VIRT_TRIM_DEMO_CACHE'] ?? '/var/cache/virt-trim-demo';
}

const unfinishedPrefix = '.unfinished-';
const abandonedAfterMs = 6 * 3600 * 1000;

async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith(unfinishedPrefix)) continue;
    const path = join(cache, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}

/**
 * The cached folder `key`, made by `build` where it is missing. A folder appears whole or not at all: it is built under another
 * name and renamed, so runs side by side can share it, and a run that dies leaves nothing that a later one would trust.
 */
export async function ensureCached(key: string, build: (directory: string) => Promise<void>): Promise<string> {
  const cache = cacheDirectory();
  const wanted = join(cache, key);
  if (existsSync(wanted)) return wanted;
  await mkdir(cache, { recursive: true, mode: 0o755 });
  await removeAbandoned(cache);
  const unfinished = join(cache, `${unfinishedPrefix}${key}-${randomBytes(4).toString('hex')}`);
  await mkdir(unfinished, { mode: 0o755 });
  try {
    await build(unfinished);
    await rename(unfinished, wanted);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    const code = (error as NodeJS.ErrnoException).code;
    // Another run was faster: its folder is as good as ours.
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
  return wanted;
}

/** The newest cached folder whose name begins with `prefix`, or null. */
export async function findCached(prefix: string): Promise<string | null> {
  const cache = cacheDirectory();
  if (!existsSync(cache)) return null;
  let newest: { path: string; at: number } | null = null;
  for (const name of await readdir(cache)) {
    if (!name.startsWith(prefix)) continue;
    const path = join(cache, name);
    const at = (await stat(path)).mtimeMs;
    if (newest === null || at > newest.at) newest = { path, at };
  }
  return newest?.path ?? null;
}

/** Removes all that was ever kept. */
export async function purgeCache(): Promise<void> {
  await rm(cacheDirectory(), { recursive: true, force: true });
}
