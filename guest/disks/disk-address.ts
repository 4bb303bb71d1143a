import type { GuestCcwAddress, GuestDiskAddress, GuestPciAddress } from '../../shared/qga/types.ts';
import { deviceNode } from './device-node.ts';
import type { Sys } from '../sys.ts';
import { readUdevProperty } from './udev.ts';

/** Where on which controller a disk hangs. -1 in the PCI address says "unknown". */
interface Address {
  pci: GuestPciAddress;
  busType: string;
  bus: number;
  target: number;
  unit: number;
  ccw?: GuestCcwAddress;
}

const unknownPci: GuestPciAddress = { domain: -1, bus: -1, slot: -1, function: -1 };
const knownDrivers = ['ata_piix', 'sym53c8xx', 'virtio-pci', 'ahci', 'nvme'];

/**
 * The address of the real device behind a resolved sysfs path, as qemu-ga works it out (build_guest_fsinfo_for_real_device in
 * qga/commands-posix.c), or undefined where there is neither an address nor a device node.
 */
export function readDiskAddress(sys: Sys, sysPath: string): GuestDiskAddress | undefined {
  const address = findAddress(sys, sysPath);
  const dev = deviceNode(sys, sysPath);
  const serial = readUdevProperty(sys, sysPath, 'ID_SERIAL');
  if (address === undefined && dev === undefined && serial === undefined) return undefined;
  const { pci, busType, bus, target, unit, ccw } = address ?? { pci: unknownPci, busType: 'unknown', bus: 0, target: 0, unit: 0 };
  return {
    'bus-type': busType,
    bus,
    unit,
    'pci-controller': pci,
    target,
    ...(dev === undefined ? {} : { dev }),
    ...(serial === undefined ? {} : { serial }),
    ...(ccw === undefined ? {} : { 'ccw-address': ccw }),
  };
}

function findAddress(sys: Sys, sysPath: string): Address | undefined {
  if (sysPath.includes('/devices/pci')) return findPciAddress(sys, sysPath);
  if (sysPath.includes('/devices/css')) return findCcwAddress(sysPath);
  return sysPath.includes('/virtio') ? findVirtioAddress(sysPath, unknownPci) : undefined;
}

/** The nearest controller above the disk whose driver is known, and the disk's place on it. */
function findPciAddress(sys: Sys, sysPath: string): Address | undefined {
  const parts = sysPath.split('/');
  let at = parts.findIndex((part) => part.startsWith('pci')) + 1;
  let pci = parsePci(parts[at]);
  let driver: string | undefined;
  while (pci !== undefined) {
    const link = sys.readLink(`${parts.slice(0, at + 1).join('/')}/driver`);
    driver = typeof link === 'string' ? link.slice(link.lastIndexOf('/') + 1) : undefined;
    if (driver !== undefined && knownDrivers.includes(driver)) break;
    at++;
    pci = parsePci(parts[at]);
  }
  if (pci === undefined || driver === undefined) return undefined;
  const target = parseTarget(parts);
  const none = { pci, bus: 0, target: 0, unit: 0 };
  switch (driver) {
    case 'virtio-pci':
      return target === undefined ? { ...none, busType: 'virtio' } : { ...none, busType: 'scsi', unit: target[2] };
    case 'nvme':
      return { ...none, busType: 'nvme' };
    case 'sym53c8xx':
      return target === undefined ? undefined : { ...none, busType: 'scsi', unit: target[1] };
    default: {
      // One host per IDE bus, or per SATA port: its place among the hosts is the number that counts.
      const host = findHostIndex(sys, parts);
      if (target === undefined || host === undefined) return undefined;
      return driver === 'ahci' ? { ...none, busType: 'sata', unit: host } : { ...none, busType: 'ide', bus: host, unit: target[1] };
    }
  }
}

/** `0000:00:05.0` */
function parsePci(part: string | undefined): GuestPciAddress | undefined {
  const [domain, bus, rest] = (part ?? '').split(':');
  const [slot, fn] = (rest ?? '').split('.');
  const numbers = [domain, bus, slot, fn].map((text) => (text === undefined || text === '' ? Number.NaN : Number(`0x${text}`)));
  const [d = Number.NaN, b = Number.NaN, s = Number.NaN, f = Number.NaN] = numbers;
  return numbers.some((number) => Number.isNaN(number)) ? undefined : { domain: d, bus: b, slot: s, function: f };
}

/** `…/target2:0:1/2:0:1:5/…`: channel, target and unit of the second part. */
function parseTarget(parts: readonly string[]): [number, number, number] | undefined {
  const at = parts.findIndex((part) => part.startsWith('target'));
  const [, channel, target, unit] = (at < 0 ? '' : (parts[at + 1] ?? '')).split(':').map(Number);
  if (channel === undefined || target === undefined || unit === undefined) return undefined;
  return [channel, target, unit].some((number) => Number.isNaN(number)) ? undefined : [channel, target, unit];
}

/** Which one of its siblings the `ataN` or `hostN` in the path is. */
function findHostIndex(sys: Sys, parts: readonly string[]): number | undefined {
  const prefix = parts.some((part) => startsWithNumber(part, 'ata')) ? 'ata' : 'host';
  const at = parts.findIndex((part) => startsWithNumber(part, prefix));
  if (at < 0) return undefined;
  const entries = sys.readDirectory(parts.slice(0, at).join('/'));
  if (typeof entries === 'number') return undefined;
  const numbers = entries
    .map((entry) => entry.slice(1))
    .filter((name) => startsWithNumber(name, prefix))
    .map((name) => Number(name.slice(prefix.length)));
  const index = numbers.sort((a, b) => a - b).indexOf(Number((parts[at] ?? '').slice(prefix.length)));
  return index < 0 ? undefined : index;
}

function startsWithNumber(name: string, prefix: string): boolean {
  const rest = name.slice(prefix.length);
  return name.startsWith(prefix) && rest !== '' && !Number.isNaN(Number(rest));
}

/** virtio without PCI, as on s390x or an MMIO board. */
function findVirtioAddress(sysPath: string, pci: GuestPciAddress): Address | undefined {
  if (!sysPath.includes('/virtio') || !sysPath.includes('/block')) return undefined;
  const target = parseTarget(sysPath.split('/'));
  if (target === undefined) return { pci, busType: 'virtio', bus: 0, target: 0, unit: 0 };
  return { pci, busType: 'scsi', bus: target[0], target: target[1], unit: target[2] };
}

/** `/devices/css0/0.0.0001/0.0.0002/…`: channel subsystem, subchannel set, subchannel and the device's number. */
function findCcwAddress(sysPath: string): Address | undefined {
  const parts = sysPath.split('/');
  const at = parts.findIndex((part) => part.startsWith('css'));
  const [cssid, ssid, subchno] = (parts[at + 1] ?? '').split('.').map((text) => Number(`0x${text}`));
  const devno = Number(`0x${(parts[at + 2] ?? '').split('.')[2] ?? ''}`);
  if (cssid === undefined || ssid === undefined || subchno === undefined || Number.isNaN(cssid + ssid + subchno + devno)) return undefined;
  const ccw = { cssid, ssid, subchno, devno };
  const virtio = findVirtioAddress(sysPath, unknownPci);
  return { ...(virtio ?? { pci: unknownPci, busType: 'unknown', bus: 0, target: 0, unit: 0 }), ccw };
}
