import * as z from 'zod/mini';
import type { AgentClient, CallOptions } from '../agent/client.ts';
import { offers, type AgentFacts } from '../agent/probe.ts';
import { toAppError } from '../../shared/errors.ts';

/** How a guest trims by itself, as far as can be told. */
export interface SelfTrim {
  /** Mountpoints with the `discard` option: freed blocks are given back at once. */
  readonly discardMounts: readonly string[];
  /** systemd's fstrim.timer is enabled: by default every Monday at 0:00 plus up to 100 minutes, in all guests alike. */
  readonly timer: boolean;
}

/** `guest-file-*` of qemu-ga (qapi-schema.json). Our own agent reads no files, and many distributions block it: then nothing can be told. */
const needed = ['guest-file-open', 'guest-file-read', 'guest-file-close'];
const handle = z.union([z.bigint(), z.int()]);
const chunk = z.object({ 'buf-b64': z.string().check(z.maxLength(200_000)), eof: z.boolean() });
const emptyAnswer = z.object({});
const mountsBytes = 64 * 1024;
const timerFiles = ['/etc/systemd/system/timers.target.wants/fstrim.timer', '/usr/lib/systemd/system/timers.target.wants/fstrim.timer'];
/** File systems on a disk; a tmpfs with `discard` in its name is none. */
const diskFilesystems = new Set(['ext4', 'xfs', 'btrfs', 'vfat', 'f2fs', 'ext3', 'jfs', 'exfat', 'ntfs3']);

/** The mountpoints of /proc/self/mounts (fstab(5)'s six fields) that discard online. btrfs does so as `discard=async`, by default since 6.2. */
export function discardMounts(mounts: string): string[] {
  const found = new Set<string>();
  for (const line of mounts.split('\n')) {
    const [, mountpoint, type, options] = line.split(' ');
    if (mountpoint === undefined || type === undefined || !diskFilesystems.has(type)) continue;
    if ((options ?? '').split(',').some((option) => option === 'discard' || option.startsWith('discard='))) found.add(mountpoint);
  }
  return [...found];
}

/**
 * Asks the guest whether it trims by itself, by looking into two of its files. Nothing is run or written there.
 * @returns null where its agent cannot tell. Never throws but for `interrupted` and `internal`.
 */
export async function askSelfTrim(client: AgentClient, uuid: string, facts: AgentFacts, call: CallOptions): Promise<SelfTrim | null> {
  if (facts.isWindows || !needed.every((command) => offers(facts.info, command))) return null;
  const mounts = await readGuestFile(client, uuid, '/proc/self/mounts', call);
  if (mounts === null) return null;
  let timer = false;
  for (const file of timerFiles) timer ||= (await readGuestFile(client, uuid, file, call)) !== null;
  return { discardMounts: discardMounts(mounts), timer };
}

/** The beginning of a file of the guest; null where it cannot be read. */
async function readGuestFile(client: AgentClient, uuid: string, path: string, call: CallOptions): Promise<string | null> {
  try {
    const opened = await client.call(uuid, 'guest-file-open', { path, mode: 'r' }, handle, call);
    try {
      const args = { handle: Number(opened), count: mountsBytes };
      const { 'buf-b64': text } = await client.call(uuid, 'guest-file-read', args, chunk, call);
      return Buffer.from(text, 'base64').toString('utf8');
    } finally {
      await client.call(uuid, 'guest-file-close', { handle: Number(opened) }, emptyAnswer, call);
    }
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
    return null;
  }
}

/** What an administrator should know of it. */
export function explainSelfTrim({ discardMounts: mounts, timer }: SelfTrim): string | null {
  const parts: string[] = [];
  if (timer) parts.push('its fstrim.timer is enabled, which trims weekly whatever the limits here are');
  if (mounts.length > 0) parts.push(`it mounts ${mounts.slice(0, 5).join(', ')} with discard, which gives freed blocks back at once`);
  return parts.length === 0 ? null : `the guest also trims by itself: ${parts.join('; ')}. One of the two ways is enough`;
}
