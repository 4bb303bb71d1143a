import { stat } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { documentedCalls } from '../contract/system-calls.ts';
import { GuestPort } from '../vm/guest-port.ts';
import { ArmGuest } from './arm-guest.ts';

/** The aarch64 agent on an aarch64 kernel: user-mode emulation (`test/contract/guest-agent-calls.test.ts`) knows no FIFREEZE. */
test('on aarch64 the agent freezes, thaws, trims, survives a kill, and calls nothing that is not listed', async () => {
  await using guest = await ArmGuest.boot();
  const port = new GuestPort(guest.agentSocket);
  await port.open();
  const start = async (): Promise<void> => {
    await guest.run('strace -D -f -A -o /run/trace /agent -t /run </dev/null >/run/log 2>&1 & echo $! >/run/pid');
    await port.synchronise(120_000);
  };
  const kill = (signal: string) =>
    guest.run(`kill -${signal} $(cat /run/pid); while kill -0 $(cat /run/pid) 2>/dev/null; do sleep 0.1; done`);

  await start();
  expect(await port.ask('guest-get-osinfo')).toMatchObject({ return: { machine: 'aarch64' } });
  expect(await port.ask('guest-get-fsinfo')).toMatchObject({
    return: [{ mountpoint: '/mnt/vda', type: 'ext4', disk: [{ 'bus-type': 'virtio', dev: '/dev/vda' }] }],
  });
  for (const command of ['guest-get-disks', 'guest-network-get-interfaces', 'guest-get-users']) await port.ask(command);
  expect(await port.ask('guest-fsfreeze-freeze')).toEqual({ return: 1 });
  expect((await guest.run('touch /mnt/vda/probe', 3000)).status).toBe(null);
  await kill('KILL');
  await start();
  expect(await port.ask('guest-fsfreeze-status')).toEqual({ return: 'frozen' });
  expect(await port.ask('guest-fsfreeze-thaw')).toEqual({ return: 1 });
  expect((await guest.run('touch /mnt/vda/probe')).status).toBe(0);

  const blocks = async (): Promise<number> => (await stat(guest.disk)).blocks * 512;
  expect((await guest.run('dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=50; sync')).status).toBe(0);
  const full = await blocks();
  await guest.run('rm /mnt/vda/junk; sync; sleep 1; sync');
  expect((await port.ask('guest-fstrim')).error).toBeUndefined();
  expect(full - (await blocks())).toBeGreaterThan(45 * 2 ** 20);
  await port.ask('virt-trim-set-watchdog', { seconds: 2 });
  expect(await port.ask('guest-fsfreeze-freeze')).toEqual({ return: 1 });
  expect((await guest.run('touch /mnt/vda/later', 60_000)).status).toBe(0);
  await kill('TERM');

  const { output } = await guest.run(`sed -E 's/^[0-9]+ +//' /run/trace | grep -oE '^[a-z_0-9]+\\(' | sort -u`);
  const names = [...output.matchAll(/^([a-z_0-9]+)\(/gm)].map(([, call = '']) => call).filter((call) => call !== 'execve');
  process.stderr.write(`aarch64: ${names.join(' ')}\n`);
  expect(names).toContain('openat');
  const { aarch64 } = documentedCalls();
  expect(names.filter((call) => !aarch64.has(call))).toEqual([]);
  port.close();
});
