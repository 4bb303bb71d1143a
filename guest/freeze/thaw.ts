import { EINVAL, errorWords } from '../errno.ts';
import { firstMounts, readMounts } from '../mounts/mount-table.ts';
import type { Mount } from '../mounts/mount-table.ts';
import type { Sys } from '../sys.ts';
import { openFlags } from '../sys.ts';

/** A filesystem with the descriptor it was frozen through: it can be thawed even when its path leads elsewhere by now. */
export interface Held {
  readonly mount: Mount;
  readonly fd: number;
}

/** FITHAW until it fails: a filesystem that was frozen twice needs it twice. Returns whether any succeeded, and the last error. */
export function thawFully(sys: Sys, fd: number): { readonly thawed: boolean; readonly error: number } {
  let thawed = false;
  for (;;) {
    const result = sys.thaw(fd);
    if (result < 0) return { thawed, error: result };
    thawed = true;
  }
}

/**
 * Thaws what is held, the last one frozen first, and closes it. EINVAL means "not frozen": somebody was quicker, and it does not
 * count. What fails otherwise stays in `failed`.
 */
export function thawHeld(sys: Sys, held: readonly Held[]): { readonly count: number; readonly failed: Held[]; readonly error?: string } {
  const failed: Held[] = [];
  let count = 0;
  let error: string | undefined;
  for (const it of held.toReversed()) {
    const result = thawFully(sys, it.fd);
    if (result.thawed) count++;
    if (result.thawed || result.error === -EINVAL) {
      sys.close(it.fd);
    } else {
      failed.unshift(it);
      error ??= `failed to thaw ${it.mount.path}: ${errorWords(result.error)}`;
    }
  }
  return error === undefined ? { count, failed } : { count, failed, error };
}

/** Thaws every other local filesystem, whoever froze it: qemu-ga's thaw does, and it is what an administrator in need calls. */
export function thawOthers(sys: Sys, except: readonly Held[]): number {
  let count = 0;
  for (const mount of firstMounts(readMounts(sys))) {
    if (except.some((it) => it.mount.filesystem === mount.filesystem)) continue;
    const fd = sys.open(mount.path, openFlags.readOnly);
    if (fd < 0) continue;
    if (thawFully(sys, fd).thawed) count++;
    sys.close(fd);
  }
  return count;
}

/**
 * The kernel's emergency thaw (sysrq j): for a filesystem that is frozen but that no path leads to, after the agent that held its
 * descriptor was killed. It thaws everything, and nothing else can.
 */
export function thawUnreachable(sys: Sys): number {
  const fd = sys.open('/proc/sysrq-trigger', openFlags.writeOnly);
  if (fd < 0) return fd;
  const result = sys.write(fd, 'j');
  sys.close(fd);
  return result;
}
