import { describe, expect, it } from 'vitest';
import type { FsInfo } from '../../../host/agent/schema.ts';
import type { DiskDescription } from '../../../host/libvirt/domain-xml.ts';
import { usedBytesPerDisk } from '../../../host/trim/guest-usage.ts';

type GuestDisk = FsInfo[number]['disk'][number];

const pci = (target: string, bus: string): DiskDescription =>
  ({ target, bus: 'virtio', address: { type: 'pci', text: `0000:${bus}:00.0` } }) as DiskDescription;
const scsi = (target: string, unit: number): DiskDescription =>
  ({ target, bus: 'scsi', address: { type: 'drive', text: `0:0:0:${unit}` } }) as DiskDescription;
const sata = (target: string, unit: number): DiskDescription =>
  ({ target, bus: 'sata', address: { type: 'drive', text: `0:0:0:${unit}` } }) as DiskDescription;

function guestDisk(busType: string, bus: number, place: { target?: number; unit?: number } = {}): GuestDisk {
  return {
    'bus-type': busType,
    bus: 0,
    target: place.target ?? 0,
    unit: place.unit ?? 0,
    'pci-controller': { domain: 0, bus, slot: 0, function: 0 },
  };
}

const filesystem = (name: string, used: number | undefined, ...disk: GuestDisk[]): FsInfo[number] => ({
  name,
  mountpoint: `/${name}`,
  type: 'ext4',
  ...(used === undefined ? {} : { 'used-bytes': used }),
  disk,
});

const used = (disks: DiskDescription[], filesystems: FsInfo | null): Record<string, number | null> =>
  Object.fromEntries(usedBytesPerDisk(disks, filesystems));

describe('usedBytesPerDisk', () => {
  it('matches virtio-blk by PCI address, whatever the guest calls the disk', () => {
    expect(
      used(
        [pci('vda', '04'), pci('vdb', '1f')],
        [filesystem('vdb1', 100, guestDisk('virtio', 0x1f)), filesystem('vda1', 7, guestDisk('virtio', 4))],
      ),
    ).toEqual({ vda: 7, vdb: 100 });
  });

  it('matches SCSI and SATA disks on one controller by target and unit', () => {
    expect(used([scsi('sda', 0), scsi('sdb', 1)], [filesystem('a', 5, guestDisk('scsi', 1, { unit: 1 }))])).toEqual({ sda: null, sdb: 5 });
    expect(used([sata('sda', 0), sata('sdb', 1)], [filesystem('a', 5, guestDisk('sata', 31, { unit: 1 }))])).toEqual({ sda: null, sdb: 5 });
  });

  it('adds up partitions, and counts what is mounted twice once', () => {
    const disks = [pci('vda', '04'), pci('vdb', '05')];
    const on = guestDisk('virtio', 4);
    expect(used(disks, [filesystem('vda1', 10, on), filesystem('vda2', 20, on), filesystem('vda2', 20, on)])).toEqual({
      vda: 30,
      vdb: null,
    });
  });

  it('an only disk has every filesystem that has a disk', () => {
    expect(used([pci('vda', '04')], [filesystem('dm-0', 10, guestDisk('unknown', 0)), filesystem('tmpfs', 99)])).toEqual({ vda: 10 });
  });

  it.each<[string, FsInfo]>([
    ['a filesystem over two disks', [filesystem('btrfs', 10, guestDisk('virtio', 4), guestDisk('virtio', 5))]],
    ['one on a disk that is none of ours', [filesystem('x', 10, guestDisk('virtio', 99))]],
    ['one without used-bytes', [filesystem('x', undefined, guestDisk('virtio', 4))]],
  ])('%s makes all of it unknown, never a guess', (_what, doubtful) => {
    expect(used([pci('vda', '04'), pci('vdb', '05')], [filesystem('vda1', 10, guestDisk('virtio', 4)), ...doubtful])).toEqual({
      vda: null,
      vdb: null,
    });
  });

  it('knows nothing without an answer, and nothing of a disk without a filesystem', () => {
    expect(used([pci('vda', '04')], null)).toEqual({ vda: null });
    expect(used([pci('vda', '04')], [])).toEqual({ vda: null });
  });

  it('a guest that lies about addresses does no harm', () => {
    const liar = guestDisk('virtio', -1);
    expect(used([pci('vda', '04'), pci('vdb', '05')], [filesystem('x', 1, liar)])).toEqual({ vda: null, vdb: null });
  });
});
