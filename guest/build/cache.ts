import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Outside the tree: what is fetched and what is compiled from it. `VIRT_TRIM_CACHE` or the user's cache directory. */
export function cacheDirectory(...parts: readonly string[]): string {
  const own = process.env['VIRT_TRIM_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'virt-trim');
  const directory = join(own, ...parts);
  mkdirSync(directory, { recursive: true });
  return directory;
}

export function hashFile(path: string): string {
  return hashBytes(readFileSync(path));
}

export function hashBytes(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
