import type { DiskDescription, DomainDescription } from '../libvirt/domain-xml.ts';
import type { Judgement, Layer } from './finding.ts';
import type { Version } from './version.ts';

/** All that can be known of a disk without asking anybody but the XML. */
export interface XmlDisk {
  readonly domain: DomainDescription;
  readonly disk: DiskDescription;
  /** The QEMU that this XML runs under, or will; null where unknown. */
  readonly qemu: Version | null;
  /** Machine types of the host for this domain's architecture and emulator; empty where unknown. */
  readonly machineTypes: readonly string[];
}

/** A pure function from facts to a judgement; null where the rule has nothing to say about this disk. */
export interface XmlRule {
  readonly id: string;
  readonly layer: Layer;
  readonly judge: (subject: XmlDisk) => Judgement | null;
}

/** The bus as libvirt takes it where the XML names none: by the target's name (formatdomain.html, `target`). */
export function busOf(disk: DiskDescription): string {
  if (disk.bus !== null) return disk.bus;
  const prefixes: Readonly<Record<string, string>> = { hd: 'ide', sd: 'scsi', vd: 'virtio', xvd: 'xen', fd: 'fdc', ubd: 'uml' };
  return prefixes[/^(xvd|ubd|[a-z]{2})/.exec(disk.target)?.[1] ?? ''] ?? 'unknown';
}

/** Whether there is anything to trim: no CD, no floppy, nothing read-only, no empty drive. */
export function isTrimmable(disk: DiskDescription): boolean {
  if (disk.device !== 'disk' && disk.device !== 'lun') return false;
  return !disk.readonly && (disk.source !== null || disk.type === 'vhostuser' || disk.type === 'nvme' || disk.type === 'vhostvdpa');
}

/** A disk whose image is a file or device of the host that runs it. */
export function hasFilePath(disk: DiskDescription): boolean {
  return disk.source !== null && (disk.type === 'file' || disk.type === 'block' || disk.type === 'volume');
}

/** SCSI commands go straight to the device; QEMU's own discard setting has no part in it (hw/scsi/scsi-disk.c, scsi-block). */
export function isScsiPassthrough(disk: DiskDescription): boolean {
  return disk.device === 'lun' && busOf(disk) === 'scsi';
}

/** How to name a domain in a command that somebody pastes into a shell. */
export function domainArgument(domain: Pick<DomainDescription, 'name' | 'uuid'>): string {
  return /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/.test(domain.name) ? domain.name : domain.uuid;
}
