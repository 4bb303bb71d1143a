import type { FsInfo } from '../agent/schema.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';

type GuestDisk = FsInfo[number]['disk'][number];

const hex = (value: number, width: number): string => value.toString(16).padStart(width, '0');

/** A virtio-blk disk is a PCI device of its own; on SCSI and SATA many share one controller and differ in target and unit. */
function isSame(disk: DiskDescription, guest: GuestDisk): boolean {
  if (disk.address === null) return false;
  const pci = guest['pci-controller'];
  if (disk.address.type === 'pci')
    return disk.address.text === `${hex(pci.domain, 4)}:${hex(pci.bus, 2)}:${hex(pci.slot, 2)}.${hex(pci.function, 1)}`;
  const [, bus, target, unit] = disk.address.text.split(':').map(Number);
  if (disk.bus === 'sata') return guest['bus-type'] === 'sata' && unit === guest.unit;
  return disk.bus === 'scsi' && guest['bus-type'] === 'scsi' && bus === guest.bus && target === guest.target && unit === guest.unit;
}

/**
 * How many bytes the guest's filesystems use on each disk; null where it cannot be told: a filesystem that spans disks or maps to
 * none, or one without `used-bytes`. A disk with no mounted filesystem at all is unknown as well (swap, LVM, raw data).
 */
export function usedBytesPerDisk(disks: readonly DiskDescription[], filesystems: FsInfo | null): Map<string, number | null> {
  const used = new Map<string, number | null>(disks.map((disk) => [disk.target, null]));
  if (filesystems === null) return used;
  const counted = new Set<string>();
  let doubtful = false;
  for (const filesystem of filesystems) {
    if (filesystem.disk.length === 0) continue;
    const [only] = filesystem.disk;
    const owner = disks.length === 1 ? disks[0] : disks.find((disk) => only !== undefined && isSame(disk, only));
    const bytes = filesystem['used-bytes'];
    if (filesystem.disk.length > 1 || owner === undefined || bytes === undefined) {
      doubtful = true;
      continue;
    }
    // The same filesystem mounted twice (bind mounts, btrfs subvolumes) is counted once.
    const key = `${owner.target} ${filesystem.name} ${bytes}`;
    if (counted.has(key)) continue;
    counted.add(key);
    used.set(owner.target, (used.get(owner.target) ?? 0) + bytes);
  }
  return doubtful ? new Map(disks.map((disk) => [disk.target, null])) : used;
}
