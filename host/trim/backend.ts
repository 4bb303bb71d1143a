import { readFile, realpath, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { isTrimmable } from '../doctor/subject.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import { isUnreadable, type Domain, type UnreadableDomain } from '../libvirt/domains.ts';
import type { StoragePool } from '../libvirt/pools.ts';
import type { ConnectionUri } from '../libvirt/uri.ts';

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

/** Where a disk's XML was read. */
export interface BackendPlace {
  /** Paths of the XML are paths of this machine. */
  readonly isLocal: boolean;
  readonly host: string;
  /** The connection's storage pools: what a remote host's paths lie on. */
  readonly pools?: readonly StoragePool[];
}

/** The host that a connection's domains run on: the same by whatever transport, socket or user it is reached. */
export function hostOfUri(uri: ConnectionUri): string {
  if (uri.isLocal) return hostname();
  const authority = /^[a-z0-9+]+:\/\/([^/?#]*)/.exec(uri.text)?.[1] ?? '';
  return authority.replace(/^[^@]*@/, '').replace(/:\d+$/, '') || uri.text;
}

/**
 * One name for the storage that a disk shares with others, so that few trims run on it at a time. An NFS export, a Ceph pool, an iSCSI
 * target, a Gluster volume, a volume group on shared disks has the same name on every hypervisor; a local filesystem is named with its host.
 */
export async function backendOf(disk: DiskDescription, place: BackendPlace): Promise<string> {
  const { source } = disk;
  if (source === null) return 'none';
  if (disk.type === 'network') return `${disk.protocol ?? 'network'}:${source.slice(source.indexOf(':') + 1).split('/')[0] ?? ''}`;
  if (disk.type === 'volume') return poolName(source.split('/')[0] ?? '', place);
  if (disk.type === 'block') return place.isLocal ? blockBackend(source, place) : `${place.host}:${blockName(source)}`;
  return place.isLocal ? fileBackend(source, place) : remoteFile(source, place);
}

/** Every backend of a domain's disks; a domain that cannot be read occupies none. `named`: what the administrator calls it. */
export async function backendsOf(domain: Domain | UnreadableDomain, place: BackendPlace, named: string | null = null): Promise<string[]> {
  if (named !== null) return [named];
  if (isUnreadable(domain)) return [];
  return [...new Set(await Promise.all(domain.disks.filter(isTrimmable).map((disk) => backendOf(disk, place))))];
}

function poolName(name: string, place: BackendPlace): string {
  const pool = place.pools?.find((each) => each.name === name);
  if (pool?.source !== undefined && pool.source !== null && pool.type in sharedPools)
    return `${sharedPools[pool.type] ?? ''}:${pool.source}`;
  return `${place.host}:pool:${name}`;
}

/** Pools whose source is the same thing on every host. */
const sharedPools: Readonly<Record<string, string>> = { netfs: 'nfs', rbd: 'rbd', gluster: 'gluster' };

function remoteFile(file: string, place: BackendPlace): string {
  const pool = place.pools?.find(({ path: root }) => root !== null && file.startsWith(`${root}/`));
  return pool === undefined ? `${place.host}:${path.dirname(file)}` : poolName(pool.name, place);
}

async function fileBackend(file: string, place: BackendPlace): Promise<string> {
  const real = await realpath(file).catch(() => path.resolve(file));
  const mount = mountOf(parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8')), real);
  if (mount !== null && networkFilesystems.has(mount.type)) return `${mount.type.replace(/^nfs4$/, 'nfs')}:${mount.source}`;
  // Every subvolume and every dataset has a device number of its own, and all share one pool.
  if (mount?.type === 'btrfs') return `${place.host}:btrfs:${mount.source}`;
  if (mount?.type === 'zfs') return `${place.host}:zpool:${mount.source.split('/')[0] ?? ''}`;
  const device = await stat(file).then(
    (facts) => String(facts.dev),
    () => mount?.device ?? 'unknown',
  );
  return `${place.host}:dev:${device}`;
}

/** By its path alone: `vg:NAME` for /dev/VG/LV and /dev/mapper/VG-LV (a dash within a name is doubled there), else the device. */
export function blockName(device: string): string {
  const zvol = /^\/dev\/zvol\/([^/]+)\//.exec(device)?.[1];
  if (zvol !== undefined) return `zpool:${zvol}`;
  const mapped = /^\/dev\/mapper\/((?:[^-]|--)+)-(?!-)/.exec(device)?.[1];
  if (mapped !== undefined) return `vg:${mapped.replaceAll('--', '-')}`;
  const group = /^\/dev\/(?!disk\/|mapper\/)([^/]+)\/[^/]+$/.exec(device)?.[1];
  return group === undefined ? device : `vg:${group}`;
}

/** What the kernel knows of it: the volume group's own id and a disk's world-wide name are the same on every host that sees them. */
async function blockBackend(device: string, place: BackendPlace): Promise<string> {
  const fallback = `${place.host}:${blockName(device)}`;
  if (device.startsWith('/dev/zvol/')) return fallback;
  const real = await realpath(device).catch(() => device);
  const name = path.basename(real);
  const read = (file: string): Promise<string> =>
    readFile(path.join('/sys/block', name, file), 'utf8').then(
      (text) => text.trim(),
      () => '',
    );
  const volume = /^LVM-([A-Za-z0-9]{32})/.exec(await read('dm/uuid'))?.[1];
  if (volume !== undefined) return `vg:${volume}`;
  const backing = await read('loop/backing_file');
  if (backing !== '') return fileBackend(backing, place);
  const wwid = await read('device/wwid');
  return wwid === '' ? fallback : `disk:${wwid.replaceAll(/\s+/g, ' ')}`;
}
