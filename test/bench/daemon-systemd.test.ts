import { inject, afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Guest } from '../../host/demo/guest.ts';
import { defineDebianGuest } from '../rig/debian-guest.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { fillSoftwareDisk, softwareDirectory } from '../rig/software-disk.ts';

/** Emulation, on a machine that may be busy: a bound, not a measure. */
const slowMs = 600_000;

let rig: Rig;
let guest: Guest;

beforeAll(async () => {
  rig = await startRig();
  const disks = [{ format: 'raw' as const, sizeBytes: 1024 ** 3 }];
  guest = await defineDebianGuest(rig.hypervisor, { name: 'systemd', memoryMiB: 1024, disks });
  await fillSoftwareDisk(guest.disk('vdb').file ?? '', inject('mainFile'));
  await guest.boot(1_200_000);
  const files = `
    # On a busy machine the guest's own mount of it may have given up.
    mountpoint -q ${softwareDirectory} || { mkdir -p ${softwareDirectory}; udevadm settle; mount /dev/vdb ${softwareDirectory}; }
    install -m 755 ${softwareDirectory}/run/virt-trim /usr/bin/virt-trim
    cp ${softwareDirectory}/units/*.service ${softwareDirectory}/units/*.timer /etc/systemd/system/
    cp ${softwareDirectory}/units/virt-trim.default /etc/default/virt-trim
    printf 'VIRT_TRIM_CONNECT=-c test:///default\\nVIRT_TRIM_VIRSH=${softwareDirectory}/run/virsh\\n' >> /etc/default/virt-trim
    mkdir -p /etc/virt-trim /etc/systemd/system/virt-trim.service.d
    printf '[Service]\\nTimeoutStartSec=600\\nTimeoutAbortSec=2\\nRestartSec=1\\n' > /etc/systemd/system/virt-trim.service.d/slow.conf
    systemctl daemon-reload`;
  await guest.runChecked(files, 240_000);
}, 1_500_000);
afterAll(() => rig.dispose());

async function show(property: string): Promise<string> {
  return (await guest.runChecked(`systemctl show -P ${property} virt-trim.service`, slowMs)).trim();
}

async function journal(): Promise<string> {
  return guest.runChecked('journalctl -u virt-trim.service -o cat --no-pager', slowMs);
}

async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not in ${timeoutMs} ms:\n${await journal()}`);
    await sleep(500);
  }
}

describe('the units in a whole Debian', { timeout: 2 * slowMs }, () => {
  it('systemd finds no fault with them, the programs being there', async () => {
    expect(await guest.runChecked('systemd-analyze verify --man=no virt-trim.service virt-trim-once.timer 2>&1', slowMs)).toBe('');
  });

  it('starts, is ready, and is told apart in the journal by its name and priorities', async () => {
    await guest.runChecked('systemctl start virt-trim.service', slowMs);
    expect([await show('ActiveState'), await show('SubState'), await show('Type')]).toEqual(['active', 'running', 'notify']);
    expect(await show('StatusText')).toMatch(/^0 trimming, 0 waiting, .*next test at /);
    expect(await guest.runChecked('journalctl -t virt-trim -p info -o cat --no-pager', slowMs)).toMatch(
      /virt-trim daemon has started event=start/,
    );
    expect(await guest.runChecked('stat -c %a /var/lib/virt-trim')).toBe('700\n');
  });

  it('a broken configuration at reload is said at the priority of an error, and it stays up', async () => {
    const pid = await show('MainPID');
    await guest.runChecked("echo 'limits: { per-backend: none }' > /etc/virt-trim/config.yaml; systemctl reload virt-trim.service", slowMs);
    try {
      await until(
        async () =>
          /the old configuration stays in force/.test(await guest.runChecked('journalctl -t virt-trim -p err -o cat --no-pager', slowMs)),
        30_000,
      );
      // Said first, and only then is systemd told that the reload is over.
      await until(async () => (await show('ActiveState')) === 'active', 30_000);
      expect(await show('MainPID')).toBe(pid);
    } finally {
      await guest.runChecked('rm /etc/virt-trim/config.yaml');
    }
  });

  it('lives past its watchdog; stopped in its tracks it is killed and started again', async () => {
    // Shorter than the unit's own two minutes, and only here: a busy machine must not fail what has nothing to do with it.
    const shorter = "printf '[Service]\\nWatchdogSec=30\\n' > /etc/systemd/system/virt-trim.service.d/watchdog.conf";
    await guest.runChecked(`${shorter}; systemctl daemon-reload; systemctl restart virt-trim.service`, slowMs);
    const pid = await show('MainPID');
    await sleep(32_000);
    expect([await show('MainPID'), await show('NRestarts')]).toEqual([pid, '0']);
    await guest.runChecked(`kill -STOP ${pid}`);
    await until(async () => (await show('NRestarts')) !== '0' && (await show('ActiveState')) === 'active', slowMs);
    expect(await show('MainPID')).not.toBe(pid);
    expect(await journal()).toMatch(/virt-trim daemon has started[^]*virt-trim daemon has started/);
  });

  it('stops cleanly, and leaves nothing', async () => {
    await guest.runChecked('systemctl stop virt-trim.service', slowMs);
    expect([await show('ActiveState'), await show('Result')]).toEqual(['inactive', 'success']);
    expect((await guest.run('pgrep -f virt-trim.daemon.lock; pgrep -f main.js')).output).toBe('');
  });

  it('without a daemon: the timer’s service does what is due, and ends', async () => {
    await guest.runChecked('systemctl start virt-trim-once.timer; systemctl start virt-trim-once.service', slowMs);
    expect(await guest.runChecked('systemctl show -P Result virt-trim-once.service')).toBe('success\n');
    expect(await guest.runChecked('systemctl is-active virt-trim-once.timer')).toBe('active\n');
  });
});
