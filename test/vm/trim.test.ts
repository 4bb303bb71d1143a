import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trimResult, type TrimResult } from '../../host/trim/schema.ts';
import type { DiskSpec } from '../../host/demo/disk-image.ts';
import type { Guest } from '../../host/demo/guest.ts';
import type { TinyGuestSpec } from '../../host/demo/tiny-guest.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

const mebibyte = 1024 * 1024;
const clusterBytes = 64 * 1024;
/** The journal of a mounted filesystem moves by itself. */
const journalBytes = 2 * mebibyte;

let rig: Rig;
let cli: Cli;
beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

async function allocated(file: string | null): Promise<number> {
  if (file === null) throw new Error('the disk has no file');
  return (await stat(file)).blocks * 512;
}

/** Writes random data on the guest's disk and deletes it; the host keeps the blocks. */
async function dirty(guest: Guest, target: string, mebibytes: number): Promise<void> {
  const { mountpoint } = guest.disk(target);
  await guest.runChecked(
    `dd if=/dev/urandom of=${mountpoint}/junk bs=1M count=${mebibytes} 2>/dev/null && sync && rm ${mountpoint}/junk && sync && sleep 1 && sync`,
    120_000,
  );
}

async function trimOne(name: string, ...args: string[]): Promise<{ domain: TrimResult; exitCode: number | undefined }> {
  const { result, envelope } = await cli.json('trim', name, ...args);
  return { domain: trimResult.parse(envelope.domains[0]), exitCode: result.exitCode };
}

const kinds: readonly { readonly title: string; readonly disk: DiskSpec; readonly file?: 'loop' }[] = [
  { title: 'qcow2 on virtio-blk with ext4', disk: { bus: 'virtio', format: 'qcow2', filesystem: 'ext4' } },
  { title: 'qcow2 on virtio-scsi with ext4', disk: { bus: 'scsi', format: 'qcow2', filesystem: 'ext4' } },
  { title: 'qcow2 on virtio-blk with xfs', disk: { bus: 'virtio', format: 'qcow2', filesystem: 'xfs' } },
  { title: 'qcow2 on virtio-blk with btrfs', disk: { bus: 'virtio', format: 'qcow2', filesystem: 'btrfs' } },
  { title: 'a raw file on virtio-blk with ext4', disk: { bus: 'virtio', format: 'raw', filesystem: 'ext4' } },
  { title: 'a block device (loop) with ext4', disk: { bus: 'virtio', format: 'raw', filesystem: 'ext4', block: true } },
];

describe('trim gives the space back, measured on the host', () => {
  it.each(kinds)('$title', async ({ title, disk }) => {
    const name = `t-${title.replaceAll(/[^a-z0-9]+/g, '-')}`;
    const guest = await rig.boot({ name, disks: [{ discard: 'unmap', sizeBytes: 2 ** 30, ...disk }] });
    const target = disk.bus === 'scsi' ? 'sda' : 'vda';
    const { file } = guest.disk(target);
    const clean = await allocated(file);
    await dirty(guest, target, 300);
    const before = await allocated(file);
    expect(before - clean).toBeGreaterThan(280 * mebibyte);

    const { domain, exitCode } = await trimOne(name);
    const after = await allocated(file);

    expect(domain).toMatchObject({ name, status: 'ok', code: null, guestStillRunning: false });
    expect(exitCode).toBe(0);
    const [measured] = domain.disks;
    expect(Math.abs((measured?.reclaimedBytes ?? 0) - (before - after))).toBeLessThanOrEqual(clusterBytes);
    expect(measured?.stable).toBe(true);
    expect(after).toBeLessThanOrEqual(clean * 1.05 + journalBytes);
    expect(domain.paths).toHaveLength(1);
    await guest.destroy();
  });
});

describe('trim says why nothing came back', () => {
  async function bootDirty(spec: TinyGuestSpec): Promise<Guest> {
    const guest = await rig.boot(spec);
    await dirty(guest, 'vda', 64);
    return guest;
  }

  it("without discard='unmap' it is refused, and with --force the guest's claim is not taken for a gain", async () => {
    const guest = await bootDirty({
      name: 'no-discard',
      disks: [{ bus: 'virtio', discard: null, filesystem: 'ext4', sizeBytes: 2 ** 30 }],
    });
    const refused = await trimOne('no-discard');
    expect(refused.domain).toMatchObject({ status: 'skipped', code: 'discard-blocked' });
    expect(refused.domain.reason).toMatch(/discard/);
    expect(refused.exitCode).toBe(32);

    const forced = await trimOne('no-discard', '--force');
    expect(forced.domain).toMatchObject({ status: 'failed', code: 'nothing-reclaimed' });
    expect(forced.domain.paths[0]?.trimmedBytes).toBeGreaterThan(800 * mebibyte);
    expect(Math.abs(forced.domain.disks[0]?.reclaimedBytes ?? Number.NaN)).toBeLessThanOrEqual(journalBytes);
    expect(forced.domain.disks[0]?.reason).toMatch(/discard/);
    expect(forced.exitCode).toBe(32);
    await guest.destroy();
  });

  it('on pc-i440fx-3.1 with virtio-blk the guest cannot trim, and the machine type is named', async () => {
    const guest = await bootDirty({
      name: 'old-pc',
      machine: 'pc-i440fx-3.1',
      disks: [{ bus: 'virtio', discard: 'unmap', filesystem: 'ext4' }],
    });
    const refused = await trimOne('old-pc');
    expect(refused.domain).toMatchObject({ status: 'skipped', code: 'discard-blocked' });
    expect(refused.domain.reason).toMatch(/pc-i440fx-3\.1/);
    const forced = await trimOne('old-pc', '--force');
    expect(forced.domain.status).toBe('failed');
    expect(forced.domain.paths[0]?.error).toMatch(/not supported/);
    expect(forced.domain.disks[0]?.reason).toMatch(/4\.0/);
    await guest.destroy();
  });

  it('a second trim of ext4 finds nothing, and says so as a success', async () => {
    const guest = await bootDirty({ name: 'twice', disks: [{ bus: 'virtio', discard: 'unmap', filesystem: 'ext4' }] });
    expect((await trimOne('twice')).domain.status).toBe('ok');
    const second = await trimOne('twice');
    expect(second.domain).toMatchObject({ status: 'ok', code: null });
    expect(second.domain.disks[0]?.reason).toMatch(/already trimmed/);
    expect(second.exitCode).toBe(0);
    await guest.destroy();
  });
});
