import type { GuestFilesystem } from '../../shared/qga/types.ts';
import type { Command } from '../command.ts';
import { describeBlockDevice } from '../disks/block-device.ts';
import { readMounts } from '../mounts/mount-table.ts';
import type { Sys } from '../sys.ts';

/** Every mount of a local filesystem, bind mounts too, the last one first: qemu-ga's order. */
export const guestGetFsinfo: Command = {
  name: 'guest-get-fsinfo',
  run: (context): GuestFilesystem[] =>
    readMounts(context.sys)
      .map((mount) => {
        const { name, disks } = describeBlockDevice(context.sys, `/sys/dev/block/${mount.device}`);
        return { name, ...readUsage(context.sys, mount.path), mountpoint: mount.path, disk: disks, type: mount.type };
      })
      .toReversed(),
};

/** As df has them: what root keeps for itself does not count to the total. */
function readUsage(sys: Sys, path: string): { 'used-bytes'?: number; 'total-bytes'?: number } {
  const capacity = sys.capacity(path);
  if (typeof capacity === 'number') return {};
  const used = capacity.blocks - capacity.freeBlocks;
  // Exact also past 2^53: the unit is a power of two.
  const unit = capacity.fragmentBytes;
  return { 'used-bytes': used * unit, 'total-bytes': (used + capacity.availableBlocks) * unit };
}
