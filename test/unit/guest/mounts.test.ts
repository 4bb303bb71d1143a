import { describe, expect, test } from 'vitest';
import { chooseFreezeOrder } from '../../../guest/mounts/freeze-order.ts';
import { decodeOctal, readMounts } from '../../../guest/mounts/mount-table.ts';
import { FakeSys } from './fake-sys.ts';

/** A machine with these lines as its mount table. */
function withTable(lines: readonly string[]): FakeSys {
  const sys = new FakeSys();
  sys.files.set('/proc/self/mountinfo', `${lines.join('\n')}\n`);
  return sys;
}

const order = (sys: FakeSys, paths?: readonly string[]): string[] =>
  chooseFreezeOrder(sys, readMounts(sys), paths).map((mount) => mount.path);

/** A loop device whose file lies on the filesystem with this number. */
function addLoop(
  sys: FakeSys,
  loop: { readonly number: string; readonly name: string; readonly on?: string; readonly file: string },
): void {
  const directory = `/sys/dev/block/${loop.number}`;
  sys.files.set(`${directory}/loop/backing_file`, `${loop.file}\n`);
  sys.files.set(`${directory}/uevent`, `DEVNAME=${loop.name}\n`);
  if (loop.on !== undefined) sys.loops.set(`/dev/${loop.name}`, loop.on);
}

describe('the mount table', () => {
  test('leaves out what has no block device; keeps btrfs where its source is one', () => {
    const sys = withTable([
      '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
      '2 1 0:20 / /tmp rw - tmpfs tmpfs rw',
      '3 1 0:21 / /mnt/nfs rw - nfs4 host:/x rw',
      '4 1 0:22 / /var/lib/docker/overlay2/x rw - overlay overlay rw',
      '5 1 0:23 /@home /home rw shared:3 master:1 - btrfs /dev/sdb rw',
      '6 1 0:24 / /mnt/gone rw - btrfs /dev/gone rw',
      '7 1 0:25 / /mnt/fuse rw - fuse.sshfs x rw',
      'garbage',
    ]);
    sys.statuses.set('/dev/sdb', { mode: 0o060660, device: '0:6', special: '8:16' });
    expect(readMounts(sys).map((mount) => [mount.path, mount.device, mount.filesystem])).toEqual([
      ['/', '8:1', '8:1'],
      ['/home', '8:16', '0:23'],
    ]);
  });

  test('names as the kernel writes them', () => {
    expect(decodeOctal('/a\\040b\\011c\\134d')).toBe('/a b\tc\\d');
    expect(decodeOctal('/a\\9')).toBe('/a\\9');
  });
});

describe('the order of a freeze', () => {
  test('the youngest mount first, each filesystem once whatever it is mounted as', () => {
    const sys = withTable([
      '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
      '2 1 8:2 / /srv rw - xfs /dev/sda2 rw',
      '3 1 8:1 /srv /export rw - ext4 /dev/sda1 rw',
      '4 1 0:23 /@ /b rw - btrfs /dev/sdb rw',
      '5 1 0:23 /@home /b/home rw - btrfs /dev/sdb rw',
    ]);
    sys.statuses.set('/dev/sdb', { mode: 0o060660, device: '0:6', special: '8:16' });
    expect(order(sys)).toEqual(['/b', '/srv', '/']);
    expect(order(sys, ['/export', '/srv', '/b/home'])).toEqual(['/b/home', '/export', '/srv']);
  });

  test('the table that deadlocks qemu-ga 7.2: a loop mount, then a bind mount of what backs it', () => {
    const sys = withTable([
      '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
      '2 1 7:0 / /mnt/loop rw - ext4 /dev/loop0 rw',
      '3 1 8:1 /var /srv rw - ext4 /dev/sda1 rw',
    ]);
    addLoop(sys, { number: '7:0', name: 'loop0', on: '8:1', file: '/image' });
    expect(order(sys)).toEqual(['/mnt/loop', '/']);
  });

  test('a loop mount that is older than the mount of its backing filesystem', () => {
    const sys = withTable(['2 1 7:0 / /mnt/loop rw - ext4 /dev/loop0 rw', '3 1 8:2 / /late rw - xfs /dev/sda2 rw']);
    addLoop(sys, { number: '7:0', name: 'loop0', on: '8:2', file: '/late/image' });
    expect(order(sys)).toEqual(['/mnt/loop', '/late']);
  });

  test('loops in loops, below device mapper, told by path where the driver does not tell', () => {
    const sys = withTable([
      '4 1 7:1 / /inner rw - ext4 /dev/loop1 rw',
      '2 1 253:0 / /outer rw - ext4 /dev/mapper/x rw',
      '3 1 8:2 / /late rw - xfs /dev/sda2 rw',
    ]);
    addLoop(sys, { number: '7:1', name: 'loop1', file: '/outer/image' });
    addLoop(sys, { number: '7:0', name: 'loop0', file: '/late/image' });
    sys.directories.set('/sys/dev/block/253:0/slaves', ['lloop0']);
    sys.files.set('/sys/dev/block/253:0/slaves/loop0/dev', '7:0\n');
    expect(order(sys)).toEqual(['/inner', '/outer', '/late']);
  });

  test('a table that goes in a circle ends', () => {
    const sys = withTable(['2 1 7:0 / /a rw - ext4 /dev/loop0 rw', '3 1 7:1 / /b rw - ext4 /dev/loop1 rw']);
    addLoop(sys, { number: '7:0', name: 'loop0', on: '7:1', file: '/b/x' });
    addLoop(sys, { number: '7:1', name: 'loop1', on: '7:0', file: '/a/x' });
    expect(order(sys).sort()).toEqual(['/a', '/b']);
  });
});
