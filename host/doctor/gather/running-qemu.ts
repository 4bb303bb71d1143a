import { readdir, readFile, readlink } from 'node:fs/promises';
import type { RunningQemu } from '../facts.ts';

/**
 * Reads a QEMU command line as libvirt writes it: `-uuid U`, `-machine TYPE,…`, `-blockdev JSON`, `-device JSON` (libvirt ≥ 5.10), or
 * `-drive …,id=drive-ALIAS,discard=…` before that.
 */
export function parseQemuArguments(args: readonly string[]): {
  uuid: string | null;
  machine: string | null;
  discard: Map<string, string | null>;
} {
  const nodes = new Map<string, string | null>();
  const discard = new Map<string, string | null>();
  const devices: Record<string, unknown>[] = [];
  let uuid: string | null = null;
  let machine: string | null = null;
  for (const [index, option] of args.entries()) {
    const value = args[index + 1];
    if (value === undefined) break;
    if (option === '-uuid') uuid = value;
    else if (option === '-machine') machine = value.split(',')[0] ?? null;
    else if (option === '-blockdev') {
      const node = parseObject(value);
      const name = node['node-name'];
      if (typeof name === 'string') nodes.set(name, typeof node['discard'] === 'string' ? node['discard'] : null);
    } else if (option === '-device' && value.startsWith('{')) devices.push(parseObject(value));
    else if (option === '-drive') {
      const alias = /(?:^|,)id=drive-([^,]+)/.exec(value)?.[1];
      if (alias !== undefined) discard.set(alias, /(?:^|,)discard=([^,]+)/.exec(value)?.[1] ?? null);
    }
  }
  for (const { id, drive } of devices) {
    if (typeof id === 'string' && typeof drive === 'string' && nodes.has(drive)) discard.set(id, nodes.get(drive) ?? null);
  }
  return { uuid, machine, discard };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // the older `driver=…,node-name=…` form: nothing is observed then
  }
}

/**
 * Every QEMU of this machine that libvirt started, by domain UUID. One pass over /proc, no process. Any user can give a process such a
 * command line: where two claim one domain, neither is believed.
 */
export async function findRunningQemus(): Promise<Map<string, RunningQemu>> {
  const found = new Map<string, RunningQemu>();
  const contested = new Set<string>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const text = await readIfThere(`/proc/${name}/cmdline`);
    if (!text.includes('\0-uuid\0')) continue;
    const { uuid, machine, discard } = parseQemuArguments(text.split('\0'));
    if (uuid === null) continue;
    if (found.has(uuid)) contested.add(uuid);
    const executable = await readlink(`/proc/${name}/exe`).catch(() => null); // another user's process
    found.set(uuid, { pid: Number(name), machine, executable, replaced: executable?.endsWith(' (deleted)') === true, discard });
  }
  for (const uuid of contested) found.delete(uuid);
  return found;
}

async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((cause as NodeJS.ErrnoException).code ?? '')) return ''; // it ended, or is not ours
    throw cause;
  }
}
