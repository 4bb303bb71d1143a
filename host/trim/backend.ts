import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { DiskDescription } from '../libvirt/domain-xml.ts';

/** A mount of /proc/self/mountinfo (proc(5)). */
export interface Mount {
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
  /** Of the mount and of the super block. */
  readonly options: readonly string[];
}

/** Reads mountinfo; octal escapes (`\040`) are undone. */
export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    const fields = before?.split(' ') ?? [];
    const [type, source, superOptions] = after?.split(' ') ?? [];
    if (fields[2] === undefined || fields[4] === undefined || type === undefined) continue;
    const unescape = (field: string) =>
      field.replace(/\\([0-7]{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const options = [...(fields[5] ?? '').split(','), ...(superOptions ?? '').split(',')];
    mounts.push({ device: fields[2], mountpoint: unescape(fields[4]), type, source: unescape(source ?? ''), options });
  }
  return mounts;
}

/** The mount a path is on: the longest mountpoint that contains it, the latest of equals. */
export function mountOf(mounts: readonly Mount[], file: string): Mount | null {
  let found: Mount | null = null;
  for (const mount of mounts) {
    const inside = mount.mountpoint === '/' || file === mount.mountpoint || file.startsWith(`${mount.mountpoint}/`);
    if (inside && mount.mountpoint.length >= (found?.mountpoint.length ?? 0)) found = mount;
  }
  return found;
}

const networkFilesystems = new Set(['nfs', 'nfs4', 'cifs', 'ceph', 'glusterfs', 'fuse.glusterfs', '9p']);

/**
 * One name for the storage that a disk shares with others, so that few trims run on it at a time. The same export has the same name
 * on every hypervisor; a local filesystem is named with its host.
 */
export async function backendOf(disk: DiskDescription, options: { readonly isLocal: boolean; readonly host: string }): Promise<string> {
  const { source } = disk;
  if (source === null) return 'none';
  if (disk.type === 'network') return `${disk.protocol ?? 'network'}:${source.split(':')[1]?.split('/')[0] ?? ''}`;
  if (disk.type === 'volume') return `${options.host}:pool:${source.split('/')[0] ?? ''}`;
  if (disk.type === 'block') {
    const group = /^\/dev\/(?:mapper\/)?([^/]+)[/-]/.exec(source)?.[1];
    return `${options.host}:${group === undefined ? source : `vg:${group}`}`;
  }
  if (!options.isLocal) return `${options.host}:${path.dirname(source)}`;
  const mount = mountOf(parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8')), path.resolve(source));
  if (mount !== null && networkFilesystems.has(mount.type)) return `${mount.type.replace(/^nfs4$/, 'nfs')}:${mount.source}`;
  const device = await stat(source).then(
    (facts) => String(facts.dev),
    () => mount?.device ?? 'unknown',
  );
  return `${options.host}:dev:${device}`;
}
