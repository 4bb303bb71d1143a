import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { guardUnitArguments, readGuardProgram } from '../../host/quiesce/guard.ts';
import { formatPhase, formatRecord, type LeaseRecord, type Phase } from '../../host/quiesce/lease-record.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// The guard as systemd runs it, in a whole Debian: there is no systemd on the machine that runs the tests. virsh is a stand-in that notes
// its calls; the guard, systemd and its timer are the real ones.

let rig: Rig;
let debian: Guest;

beforeAll(async () => {
  rig = await startRig();
  debian = await rig.bootDebian({ name: 'deb' });
  await debian.runChecked('until systemctl is-system-running | grep -qE "running|degraded"; do sleep 0.5; done', 240_000);
  await write('/usr/local/bin/virsh', fakeVirsh, '755');
  bootId = (await debian.runChecked('cat /proc/sys/kernel/random/boot_id')).trim();
}, 900_000);

afterAll(() => rig?.dispose());

const fakeVirsh = `#!/bin/sh
for text; do :; done
case $text in
*domid*) echo 7; echo "running (booted)" ;;
*remove*) echo unmark >>/run/calls ;;
*thaw*) echo "thaw $(cut -d' ' -f1 /proc/uptime)" >>/run/calls; [ ! -e /run/unreachable ] || { echo 'error: failed to connect to the hypervisor'; exit 1; }; echo '{"return":1}'; echo '{"return":"thawed"}' ;;
*status*) echo '{"return":"thawed"}' ;;
esac
`;

let bootId = '';

async function write(file: string, text: string, mode: string): Promise<void> {
  await debian.runChecked(`echo ${Buffer.from(text).toString('base64')} | base64 -d >${file} && chmod ${mode} ${file}`);
}

/** A lease in the guest, with its unit started as armGuard does it. @returns its unit and its deadline in the guest's uptime. */
async function lease(
  id: string,
  seconds: number,
  phase: Phase,
  countsFromTheTimer = false,
): Promise<{ unit: string; directory: string; deadline: number }> {
  const uuid = `00000000-0000-0000-0000-0000${id.slice(0, 8)}`;
  const directory = `/var/lib/virt-trim/leases/${uuid}`;
  const record: LeaseRecord = {
    id,
    uuid,
    name: 'db1',
    uri: '',
    virsh: '/usr/local/bin/virsh',
    domainId: 7,
    bootId,
    peers: [],
    thawSeconds: 5,
    leaseSeconds: seconds,
    user: 'root',
    host: 'deb',
    caller: '',
    createdAt: '',
  };
  const unit = `virt-trim-guard-${id}`;
  await debian.runChecked(`rm -f /run/calls; mkdir -p ${directory}`);
  await write(`${directory}/record`, formatRecord(record), '600');
  await write(`${directory}/phase`, formatPhase({ is: 'armed' }), '600');
  await write(`${directory}/guard.sh`, readGuardProgram(), '600');
  const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
  const uptime = Number((await debian.runChecked('cat /proc/uptime')).split(' ')[0]);
  const deadline = uptime + seconds;
  await write(`${directory}/deadline`, `${Math.round(deadline * 100)}\n`, '600');
  // This shell is the owner that soon dies.
  await debian.runChecked(`set -- $(cat /proc/$$/stat); echo "$$ 1" >${directory}/owner.1`);
  await write(`${directory}/phase`, formatPhase(phase), '600');
  await debian.runChecked(`systemd-run ${guardUnitArguments(directory, record, []).map(quote).join(' ')}`);
  await write(`${directory}/unit`, `${unit}\n`, '600');
  await debian.runChecked(`systemctl start ${unit}.service; until [ -s ${directory}/guard.1 ]; do sleep 0.1; done`);
  if (countsFromTheTimer) return { unit, directory, deadline };
  // As a freeze does it: the lease counts from when all is ready.
  const ready = Number((await debian.runChecked('cat /proc/uptime')).split(' ')[0]);
  await write(`${directory}/deadline`, `${Math.round((ready + seconds) * 100)}\n`, '600');
  return { unit, directory, deadline: ready + seconds };
}

async function thawedAt(): Promise<number> {
  await debian.runChecked('until grep -q thaw /run/calls 2>/dev/null; do sleep 0.1; done', 120_000);
  return Number(/thaw ([\d.]+)/.exec(await debian.runChecked('cat /run/calls'))?.[1]);
}

async function expectNothingLeft(unit: string): Promise<void> {
  await debian.runChecked('until [ -z "$(ls -A /var/lib/virt-trim/leases)" ]; do sleep 0.2; done', 60_000);
  await debian.runChecked(`until ! systemctl list-units --all --no-legend | grep -q ${unit}; do sleep 0.2; done`, 60_000);
}

const frozen: Phase = { is: 'frozen', count: 1, sinceCentis: 1 };

test('the service thaws at the deadline and leaves no unit', { timeout: 300_000 }, async () => {
  const { unit, deadline } = await lease('0000000100000001', 15, frozen);
  expect(await thawedAt()).toBeGreaterThanOrEqual(deadline);
  expect((await thawedAt()) - deadline).toBeLessThan(5);
  await expectNothingLeft(unit);
});

test('killed, it is started again by systemd', { timeout: 300_000 }, async () => {
  const { unit, deadline } = await lease('0000000200000002', 15, frozen);
  await debian.runChecked(`systemctl kill --signal=KILL --kill-whom=main ${unit}.service`);
  expect((await thawedAt()) - deadline).toBeLessThan(5);
  await expectNothingLeft(unit);
});

test('stopped, it is started at the deadline by the timer', { timeout: 300_000 }, async () => {
  const { unit, deadline } = await lease('0000000300000003', 30, frozen, true);
  await debian.runChecked(`systemctl stop ${unit}.service`);
  expect((await thawedAt()) - deadline).toBeLessThan(5);
  await expectNothingLeft(unit);
});
