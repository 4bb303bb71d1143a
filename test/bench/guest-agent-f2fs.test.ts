import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { bootTwins, isFrozen, sayBoth, type Twins } from '../vm/agent-twins.ts';

/** f2fs, which only Debian's usual kernel has (70 MB to download the first time): both agents beside each other, as in `test/vm/guest-agent-virsh.test.ts`. */
let rig: Rig;
let twins: Twins;

beforeAll(async () => {
  rig = await startRig();
  twins = await bootTwins(rig, {
    kernel: 'generic',
    memoryMiB: 256,
    // Unless it is told not to, f2fs discards by itself when it is idle, and FITRIM has nothing to do (f2fs_trim_fs).
    disks: [{ filesystem: 'f2fs', mountOptions: 'rw,nodiscard' }, { bus: 'scsi', filesystem: 'f2fs' }, { filesystem: 'ext4' }],
  });
});

afterAll(() => rig?.dispose());

const allocated = async (guest: Guest): Promise<number> => (await stat(guest.disk('vda').file ?? '')).blocks * 512;
const each = (): readonly Guest[] => [twins.ours, twins.theirs];

test('f2fs: the same names and disks, freezes and thaws', async () => {
  for (const command of ['domfsinfo', 'domfsfreeze', 'domfsthaw']) {
    const [mine, other] = await sayBoth(twins, command, '@');
    expect(mine).toBe(other);
    if (command === 'domfsinfo')
      for (const disk of ['vda', 'sda']) expect(mine).toMatch(new RegExp(`^ /mnt/${disk} +${disk} +f2fs +${disk}$`, 'm'));
  }
  for (const guest of each()) {
    expect(await guest.agent('guest-fsfreeze-freeze', undefined, 60)).toBe(3);
    expect(await isFrozen(guest, '/mnt/vda')).toBe(true);
    expect(await guest.agent('guest-fsfreeze-thaw', undefined, 60)).toBe(3);
    expect((await guest.run('touch /mnt/vda/probe; sync', 30_000)).status).toBe(0);
  }
});

test('f2fs: what was deleted comes back to the host', async () => {
  for (const guest of each()) {
    await guest.runChecked('dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=100 2>/dev/null; sync', 120_000);
    const full = await allocated(guest);
    await guest.runChecked('rm /mnt/vda/junk; sync', 120_000);
    const { paths } = (await guest.agent('guest-fstrim', { minimum: 0 }, 120)) as {
      paths: { path: string; trimmed?: number; error?: string }[];
    };
    process.stderr.write(`${guest.name}: ${JSON.stringify(paths)}\n`);
    const { trimmed, error } = paths.find((it) => it.path === '/mnt/vda') ?? {};
    expect(error).toBeUndefined();
    expect(trimmed).toBeGreaterThan(90 * 2 ** 20);
    expect(full - (await allocated(guest))).toBeGreaterThan(90 * 2 ** 20);
  }
});
