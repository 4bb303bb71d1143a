import { execFile } from 'node:child_process';
import { open, rename, truncate } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Element } from '@xmldom/xmldom';
import type { DiskSpec } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import type { TinyGuestSpec } from '../../host/demo/tiny-guest.ts';

const run = promisify(execFile);

/** A guest that is broken in one way, or in none. */
export interface DoctorCase {
  readonly name: string;
  readonly what: string;
  readonly spec?: Omit<TinyGuestSpec, 'name' | 'disks'>;
  readonly disk?: DiskSpec;
  /** Between define and start: what the rig's own settings do not know. */
  readonly break?: (guest: Guest) => Promise<void>;
  /** Off: a guest that cannot or need not start. */
  readonly off?: boolean;
  /** The domain's verdict, and the rule that has to say so. */
  readonly verdict: 'ok' | 'warning' | 'blocks' | 'unknown';
  readonly rule: string | null;
  /** What a real trim gives back: `all` > 95 % of what was deleted, `none` < 1 %, `some` whatever; null: it cannot be trimmed. */
  readonly trim: 'all' | 'none' | 'some' | null;
}

const bytes = 256 * 1024 ** 2;
const disk = (spec: DiskSpec = {}): DiskSpec => ({ sizeBytes: bytes, ...spec });

function fileOf(guest: Guest): string {
  const { file } = guest.disks[0] ?? {};
  if (file === undefined || file === null) throw new Error(`${guest.name} has no image`);
  return file;
}

function first(domain: Element, name: string): Element {
  const element = domain.getElementsByTagName(name)[0];
  if (element === undefined) throw new Error(`no <${name}>`);
  return element;
}

function convertTo(format: string) {
  return {
    edit: (domain: Element) => first(domain, 'driver').setAttribute('type', format),
    break: async (guest: Guest): Promise<void> => {
      const file = fileOf(guest);
      await run('qemu-img', ['convert', '-f', 'qcow2', '-O', format, file, `${file}.new`]);
      await rename(`${file}.new`, file);
    },
  };
}

async function patch(file: string, offset: number, data: Buffer): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.write(data, 0, data.length, offset);
  } finally {
    await handle.close();
  }
}

const qemuCommandline =
  (...values: string[]) =>
  (domain: Element): void => {
    const namespace = 'http://libvirt.org/schemas/domain/qemu/1.0';
    const document = domain.ownerDocument;
    if (document === null) throw new Error('no document');
    const line = document.createElementNS(namespace, 'qemu:commandline');
    for (const value of values) {
      const argument = document.createElementNS(namespace, 'qemu:arg');
      argument.setAttribute('value', value);
      line.appendChild(argument);
    }
    domain.appendChild(line);
  };

/** Encrypts the guest's own filesystem layer: dm-crypt without `allow_discards`, as LUKS is opened by default. */
const dmCrypt: Pick<TinyGuestSpec, 'modules' | 'programs' | 'steps'> = {
  modules: ['ext4', 'dm_mod', 'dm_crypt'],
  programs: ['/usr/sbin/dmsetup', '/usr/sbin/mkfs.ext4'],
  steps: [
    `echo "0 $(blockdev --getsz /dev/vda) crypt aes-cbc-plain64 ${'0123456789abcdef'.repeat(4)} 0 /dev/vda 0" | dmsetup create crypt`,
    'dmsetup mknodes; mkfs.ext4 -q /dev/mapper/crypt; mkdir -p /mnt/vda; mount -t ext4 /dev/mapper/crypt /mnt/vda',
  ],
};

/** Broken in one way each. */
export const broken: readonly DoctorCase[] = [
  {
    name: 'no-discard',
    what: 'no discard attribute',
    disk: disk({ discard: null }),
    verdict: 'blocks',
    rule: 'driver-discard',
    trim: 'none',
  },
  {
    name: 'discard-ignore',
    what: "discard='ignore'",
    disk: disk({ discard: 'ignore' }),
    verdict: 'blocks',
    rule: 'driver-discard',
    trim: 'none',
  },
  {
    name: 'i440fx-3-1',
    what: 'virtio-blk on pc-i440fx-3.1',
    spec: { machine: 'pc-i440fx-3.1' },
    verdict: 'blocks',
    rule: 'machine-type',
    trim: 'none',
  },
  {
    name: 'q35-3-1',
    what: 'virtio-blk on pc-q35-3.1',
    spec: { machine: 'pc-q35-3.1' },
    verdict: 'blocks',
    rule: 'machine-type',
    trim: 'none',
  },
  {
    name: 'i440fx-2-12',
    what: 'virtio-blk on pc-i440fx-2.12',
    spec: { machine: 'pc-i440fx-2.12' },
    verdict: 'blocks',
    rule: 'machine-type',
    trim: 'none',
  },
  {
    name: 'zeroes-only',
    what: 'detect_zeroes=unmap without discard',
    disk: disk({ discard: null, detectZeroes: 'unmap' }),
    verdict: 'blocks',
    rule: 'driver-discard',
    trim: 'none',
  },
  {
    name: 'vmdk',
    what: 'a VMDK image',
    spec: convertTo('vmdk'),
    break: convertTo('vmdk').break,
    verdict: 'blocks',
    rule: 'image-format',
    trim: 'none',
  },
  {
    name: 'vdi',
    what: 'a VDI image',
    spec: convertTo('vdi'),
    break: convertTo('vdi').break,
    verdict: 'blocks',
    rule: 'image-format',
    trim: 'none',
  },
  {
    name: 'old-overlay',
    what: 'compat=0.10 over a backing file',
    disk: disk({ backing: true }),
    break: async (guest) => void (await run('qemu-img', ['amend', '-f', 'qcow2', '-o', 'compat=0.10', fileOf(guest)])),
    verdict: 'blocks',
    rule: 'qcow2-compat',
    trim: 'none',
  },
  {
    name: 'past-libvirt',
    what: 'discard switched off on the QEMU command line',
    spec: { edit: qemuCommandline('-global', 'virtio-blk-device.discard=off') },
    verdict: 'unknown',
    rule: 'qemu-arguments',
    trim: 'none',
  },
  {
    name: 'guest-crypt',
    what: 'dm-crypt without discards in the guest',
    spec: dmCrypt,
    disk: disk({ filesystem: null }),
    verdict: 'unknown',
    rule: 'guest-mapper',
    trim: 'none',
  },
  {
    name: 'blocked-command',
    what: 'guest-fstrim on the block list of qemu-ga',
    spec: { agent: { kind: 'qemu-ga', arguments: ['-b', 'guest-fstrim'] } },
    verdict: 'blocks',
    rule: 'agent-commands',
    trim: 'none',
  },
  { name: 'no-channel', what: 'no agent channel', spec: { channel: false }, verdict: 'blocks', rule: 'agent-channel', trim: null },
  {
    name: 'no-agent',
    what: 'nobody behind the channel',
    spec: { agent: { kind: 'none' } },
    verdict: 'blocks',
    rule: 'agent-answers',
    trim: null,
  },
  {
    name: 'overlay',
    what: 'an overlay on a backing file',
    disk: disk({ backing: true }),
    verdict: 'warning',
    rule: 'backing-chain',
    trim: 'some',
  },
  {
    name: 'snapshot',
    what: 'an internal snapshot',
    disk: disk({ internalSnapshot: 's1' }),
    verdict: 'warning',
    rule: 'internal-snapshots',
    trim: 'some',
  },
  {
    name: 'preallocated',
    what: 'a preallocated raw image',
    disk: disk({ format: 'raw', preallocation: 'falloc' }),
    verdict: 'warning',
    rule: 'preallocation',
    trim: 'some',
  },
  {
    name: 'big-clusters',
    what: 'clusters of 2 MiB',
    disk: disk({ imageOptions: ['cluster_size=2M'] }),
    verdict: 'warning',
    rule: 'cluster-size',
    trim: 'some',
  },
  {
    name: 'qcow2-on-device',
    what: 'qcow2 on a block device',
    disk: disk({ block: true }),
    // The rig's device is as long as the image was: nothing could be written to it.
    break: async (guest) => {
      await truncate(fileOf(guest), 2 * bytes);
      await run('losetup', ['-c', guest.disks[0]?.source ?? '']);
    },
    verdict: 'warning',
    rule: 'fragmentation',
    trim: 'some',
  },
  {
    name: 'shared',
    what: 'a shareable disk',
    disk: disk({ format: 'raw', shareable: true }),
    verdict: 'warning',
    rule: 'shareable',
    trim: 'some',
  },
  {
    name: 'vhd-usb',
    what: 'a USB disk',
    off: true,
    spec: { edit: (domain) => moveToBus(domain, 'usb') },
    verdict: 'blocks',
    rule: 'bus',
    trim: null,
  },
  {
    name: 'corrupt',
    what: 'the corrupt bit in the header',
    off: true,
    break: async (guest) => patch(fileOf(guest), 79, Buffer.from([2])),
    verdict: 'blocks',
    rule: 'image-health',
    trim: null,
  },
  {
    name: 'not-qcow2',
    what: 'qcow2 in the XML, something else in the file',
    off: true,
    break: async (guest) => patch(fileOf(guest), 0, Buffer.from('MZ\0\0')),
    verdict: 'blocks',
    rule: 'format-mismatch',
    trim: null,
  },
  {
    name: 'guest-header',
    what: 'a raw disk on which the guest wrote a qcow2 header',
    off: true,
    disk: disk({ format: 'raw' }),
    break: async (guest) => patch(fileOf(guest), 0, Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3])),
    verdict: 'warning',
    rule: 'format-mismatch',
    trim: null,
  },
  {
    name: 'lost-image',
    what: 'an image that is gone',
    off: true,
    break: async (guest) => rename(fileOf(guest), `${fileOf(guest)}.gone`),
    verdict: 'unknown',
    rule: 'image-readable',
    trim: null,
  },
];

function moveToBus(domain: Element, bus: string): void {
  const target = first(domain, 'target');
  target.setAttribute('bus', bus);
  target.setAttribute('dev', 'sda');
}

/** Nothing wrong with them: no `blocks` and no `warning` may be said. */
export const healthy: readonly DoctorCase[] = [
  { name: 'healthy-q35', what: 'qcow2 on virtio-blk, newest q35', verdict: 'ok', rule: null, trim: 'all' },
  {
    name: 'healthy-i440fx-4',
    what: 'qcow2 on virtio-blk, pc-i440fx-4.0',
    spec: { machine: 'pc-i440fx-4.0' },
    verdict: 'ok',
    rule: null,
    trim: 'all',
  },
  {
    name: 'healthy-scsi-old',
    what: 'qcow2 on virtio-scsi, pc-i440fx-3.1',
    spec: { machine: 'pc-i440fx-3.1' },
    disk: disk({ bus: 'scsi' }),
    verdict: 'ok',
    rule: null,
    trim: 'all',
  },
  {
    name: 'healthy-raw',
    what: 'sparse raw on virtio-blk, xfs in the guest',
    disk: disk({ format: 'raw', filesystem: 'xfs', sizeBytes: 512 * 1024 ** 2 }),
    verdict: 'ok',
    rule: null,
    trim: 'all',
  },
  {
    name: 'healthy-loop',
    what: 'raw on a block device',
    disk: disk({ format: 'raw', block: true }),
    verdict: 'ok',
    rule: null,
    trim: 'all',
  },
];

export const defaultDisk = disk();
