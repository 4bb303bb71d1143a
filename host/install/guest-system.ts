import { AppError } from '../../shared/errors.ts';
import type { Guestfish } from './guestfish.ts';

/** What libguestfs finds in the images. Its words come from the guest's files: only known ones are passed on. */
export interface GuestSystem {
  readonly type: 'linux';
  readonly arch: 'x86_64' | 'aarch64' | null;
  readonly selinux: boolean;
}

const quickMs = 120_000;
const devicePattern = /^\/dev\/[A-Za-z0-9/_.-]+$|^btrfsvol:\/dev\/[A-Za-z0-9/_.-]+$/;

function refuse(message: string): AppError {
  return new AppError('refused', message);
}

const encryptions: Readonly<Record<string, string>> = { crypto_LUKS: 'LUKS', BitLocker: 'BitLocker' };

/** libguestfs' list-filesystems leaves out what is encrypted (seen with 1.48): each device is asked. */
async function findEncryption(fish: Guestfish): Promise<string | null> {
  for (const list of ['list-devices', 'list-partitions', 'lvs']) {
    const devices = (await fish.run(quickMs, `-${list}`)).split('\n').filter((line) => devicePattern.test(line));
    for (const device of devices) {
      const found = encryptions[(await fish.run(quickMs, '-vfs-type', device)).trim()];
      if (found !== undefined) return found;
    }
  }
  return null;
}

async function onlyRoot(fish: Guestfish): Promise<string> {
  const roots = (await fish.run(quickMs, 'inspect-os')).split('\n').filter((line) => line !== '');
  const [root, second] = roots;
  if (root === undefined) {
    const encryption = await findEncryption(fish);
    if (encryption !== null)
      throw refuse(
        `the disk is encrypted inside the guest (${encryption}): its files cannot be reached from outside; start it and use --via ssh or iso`,
      );
    throw refuse('no operating system was found in the images: the disk is empty, encrypted or of a kind that libguestfs does not know');
  }
  if (second !== undefined) throw refuse('more than one operating system was found in the images: use --via ssh or iso');
  if (!devicePattern.test(root)) throw refuse('libguestfs names a root device that is not understood');
  return root;
}

/** `MOUNTPOINT: DEVICE` lines, the root first. What does not look like a path of letters and digits is left unmounted. */
export function parseMountpoints(text: string): { mountpoint: string; device: string }[] {
  return text
    .split('\n')
    .flatMap((line) => {
      const match = /^(\/[A-Za-z0-9/_.-]*): (\S+)$/.exec(line);
      const device = match?.[2] ?? '';
      return match?.[1] !== undefined && devicePattern.test(device) ? [{ mountpoint: match[1], device }] : [];
    })
    .sort((a, b) => a.mountpoint.length - b.mountpoint.length);
}

/** Finds the one Linux in the images and mounts its file systems. @throws AppError `refused`, `tool-failed`. */
export async function mountSystem(fish: Guestfish): Promise<GuestSystem> {
  const root = await onlyRoot(fish);
  const type = (await fish.run(quickMs, 'inspect-get-type', root)).trim();
  if (type === 'windows') throw refuse('it is Windows: give the virtio-win ISO (--via iso --iso FILE) and follow the steps that are shown');
  if (type !== 'linux') throw refuse('the system in the images is not Linux');
  const arch = (await fish.run(quickMs, 'inspect-get-arch', root)).trim();
  for (const { mountpoint, device } of parseMountpoints(await fish.run(quickMs, 'inspect-get-mountpoints', root))) {
    // A leading dash: what cannot be mounted beside the root is not needed here.
    await fish.run(quickMs, mountpoint === '/' ? 'mount' : '-mount', device, mountpoint);
  }
  const selinux = (await fish.run(quickMs, 'is-file', '/etc/selinux/config')).trim() === 'true';
  return { type, arch: arch === 'x86_64' || arch === 'aarch64' ? arch : null, selinux };
}
