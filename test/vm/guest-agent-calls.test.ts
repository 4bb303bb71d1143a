import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { documentedCalls, tracedCalls } from '../contract/system-calls.ts';
import { ownAgentProgram } from '../rig/default-agent.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { GuestPort, guestPortName as portName } from './guest-port.ts';

/** strace sees the agent freeze, thaw, trim, be killed and come back: what `test/contract/guest-agent-calls.test.ts` must not do. */
let rig: Rig;
let guest: Guest;
let port: GuestPort;

beforeAll(async () => {
  rig = await startRig();
  guest = await rig.define({
    name: 'traced',
    memoryMiB: 192,
    agent: { kind: 'scripted' },
    disks: [{ sizeBytes: 256 * 2 ** 20 }, { bus: 'scsi', filesystem: 'btrfs', sizeBytes: 256 * 2 ** 20 }],
    modules: ['loop'],
    programs: ['/usr/bin/strace', ownAgentProgram, '/usr/sbin/mke2fs'],
    steps: [
      'dd if=/dev/zero of=/mnt/vda/image bs=1M count=16 2>/dev/null; /usr/sbin/mke2fs -q -F -t ext4 /mnt/vda/image; mkdir /loop',
      'losetup /dev/loop0 /mnt/vda/image; mount -t ext4 /dev/loop0 /loop',
    ],
  });
  await guest.start();
  await guest.waitForBoot(240_000);
  await guest.run('/rig/agent stop');
  port = new GuestPort(guest.agentSocket);
  await port.open();
});

afterAll(async () => {
  port?.close();
  await rig?.dispose();
});

/** -D: the agent is the process that was started, and strace its child; the trace grows from start to start. */
async function start(): Promise<void> {
  await guest.runChecked(
    `setsid strace -D -f -A -o /run/trace ${ownAgentProgram} -p ${portName} -t /run </dev/null >/run/agent.log 2>&1 & echo $! >/run/pid`,
  );
  await port.synchronise();
}

const kill = (signal: string): Promise<string> =>
  guest.runChecked(`kill -${signal} $(cat /run/pid); while kill -0 $(cat /run/pid) 2>/dev/null; do sleep 0.05; done`, 60_000);

test('what the agent calls in a guest is what docs/guest-agent.md lists', async () => {
  await start();
  for (const command of ['guest-get-fsinfo', 'guest-get-disks', 'guest-get-osinfo', 'guest-network-get-interfaces'])
    await port.ask(command);
  expect(await port.ask('guest-fsfreeze-freeze')).toEqual({ return: 3 });
  expect(await port.ask('guest-fsfreeze-thaw')).toEqual({ return: 3 });
  expect((await port.ask('guest-fstrim')).error).toBeUndefined();
  // The host leaves and comes back: SIGIO.
  port.close();
  await guest.runChecked('sleep 1');
  await port.open();
  await port.synchronise();
  // Killed while frozen, with the way to one filesystem gone; the next one thaws that by the kernel's emergency thaw.
  expect(await port.ask('guest-fsfreeze-freeze-list', { mountpoints: ['/loop', '/mnt/sda'] })).toEqual({ return: 2 });
  await kill('KILL');
  await guest.runChecked('mount -t tmpfs tmpfs /loop');
  await start();
  expect((await port.ask('guest-fsfreeze-thaw')).error).toBeUndefined();
  // Its own deadline thaws.
  await port.ask('virt-trim-set-watchdog', { seconds: 1 });
  expect(await port.ask('guest-fsfreeze-freeze-list', { mountpoints: ['/mnt/sda'] })).toEqual({ return: 1 });
  expect((await guest.run('touch /mnt/sda/probe', 30_000)).status).toBe(0);
  await kill('TERM');
  await guest.runChecked('umount /loop');
  expect((await guest.run(`strace -f -A -o /run/trace ${ownAgentProgram} --once --splay 1s`, 60_000)).status).toBe(0);

  const text = await guest.runChecked(
    `sed -E 's/^[0-9]+ +//' /run/trace | grep -oE '^[a-z_0-9]+\\((-?[0-9]+, )?([A-Z][A-Z_0-9]*( or )?)*' | sort -u`,
    60_000,
  );
  const seen = tracedCalls(text);
  const { anywhere, inGuest, unseen } = documentedCalls();
  // The clock is a system call where the guest's clock source has no faster way.
  const known = new Set([...anywhere, ...inGuest, ...(seen.has('clock_gettime') && unseen.has('clock_gettime') ? ['clock_gettime'] : [])]);
  expect([...seen].filter((call) => !known.has(call))).toEqual([]);
  expect([...inGuest].filter((call) => !seen.has(call))).toEqual([]);
});
