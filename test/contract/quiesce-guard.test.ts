import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readBootCentis, readBootId } from '../../host/quiesce/boot-clock.ts';
import { armGuard, claimLease, readGuardProgram, renewLease, stopGuard } from '../../host/quiesce/guard.ts';
import { createLease, listLeases, readGuard, readLease, removeLease, writeDeadline, writePhase } from '../../host/quiesce/lease-files.ts';
import type { LeaseRecord, Phase } from '../../host/quiesce/lease-record.ts';

// The real guard under this machine's own sh, with flock, timeout and setsid; virsh is a script that plays a domain from files.

const fakeVirsh = `#!/bin/sh
# State in files beside this script: state, id, mark, frozen. Every call is noted in calls.
cd "\${0%/*}" || exit 1
for text; do :; done
IFS=';'
set -f
for command in $text; do
  set +f
  case $command in
  *domid*) echo domid >>calls; cat id ;;
  *domstate*) cat state ;;
  *--remove*) echo unmark >>calls; rm -f mark ;;
  *metadata*) [ -e mark ] && echo "<lease id=\\"$(cat mark)\\"/>" ;;
  *fsfreeze-thaw*) echo thaw >>calls; if [ -e frozen ]; then rm frozen; echo '{"return":2}'; else echo '{"return":0}'; fi ;;
  *fsfreeze-status*) echo status >>calls; if [ -e silent ]; then echo 'error: Guest agent is not responding: QEMU guest agent is not connected'; elif [ -e frozen ]; then echo '{"return":"frozen"}'; else echo '{"return":"thawed"}'; fi ;;
  esac
done
`;

let directory = '';
let virsh = '';

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-guard-'));
  virsh = path.join(directory, 'virsh');
  await writeFile(virsh, fakeVirsh);
  await chmod(virsh, 0o755);
  await play({ state: 'running (booted)', id: '7' });
});

afterEach(async () => {
  for (const lease of await listLeases(directory)) {
    writePhase(lease.directory, { is: 'thawed' });
    await stopGuard(lease.directory);
  }
  await rm(directory, { recursive: true, force: true });
});

async function play(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(directory, name), `${text}\n`);
}

const calls = async (): Promise<string[]> =>
  (await readFile(path.join(directory, 'calls'), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');

const record: LeaseRecord = {
  id: '0123456789abcdef',
  uuid: '6c26c6eb-44bf-4c91-a4f6-835e70ac3e4b',
  name: 'db1',
  uri: 'test:///default',
  virsh: '',
  domainId: 7,
  bootId: readBootId(),
  peers: [],
  thawSeconds: 5,
  leaseSeconds: 1,
  user: 'root',
  host: 'hv1',
  caller: '',
  createdAt: '',
};

async function lease(seconds: number, phase: Phase, more: Partial<LeaseRecord> = {}): Promise<string> {
  const made = await createLease(directory, { ...record, virsh, ...more }, readBootCentis() + seconds * 100, readGuardProgram());
  if (made === null) throw new Error('there is a lease already');
  await armGuard(made, { ...record, virsh });
  if (phase.is === 'frozen') await play({ frozen: '' });
  writePhase(made, phase);
  return made;
}

const frozen: Phase = { is: 'frozen', count: 2, sinceCentis: 1 };
/** A process that has ended: leaves the lease without an owner. */
const abandon = (made: string): Promise<void> => writeFile(path.join(made, 'owner.1'), '999999999 1\n');

async function until(what: () => Promise<boolean>, timeoutMs = 15_000): Promise<number> {
  const started = performance.now();
  while (!(await what())) {
    if (performance.now() - started > timeoutMs) throw new Error('it never happened');
    await sleep(20);
  }
  return performance.now() - started;
}
const gone = async (): Promise<boolean> => (await readdir(path.join(directory, 'leases'))).length === 0;

it('thaws when the lease has run out, and removes the lease, its mark and itself', async () => {
  await play({ mark: record.id });
  const made = await lease(1, frozen);
  const guard = await readGuard(made, 1);
  await abandon(made);
  await until(gone);
  expect(await calls()).toContain('thaw');
  expect((await calls()).at(-1)).toBe('unmark');
  await until(async () => !(await isRunning(guard?.identity.pid ?? 0)));
});

it('reports to an owner that lives, and leaves the lease to it', async () => {
  const made = await lease(1, frozen);
  await until(async () => (await readLease(made))?.result !== null);
  expect((await readLease(made))?.result).toMatchObject({ is: 'thawed', count: 2 });
  await sleep(1500);
  expect(await readLease(made)).not.toBeNull();
});

it('never thaws what was never frozen by us', async () => {
  const made = await lease(1, { is: 'armed' });
  await play({ frozen: '' });
  await sleep(2500);
  expect(await calls()).not.toContain('thaw');
  await abandon(made);
  await until(gone);
  expect(await calls()).not.toContain('thaw');
});

it('never thaws for a lease that is not there any more', async () => {
  const made = await lease(2, frozen);
  await removeLease(made, record.id);
  await lease(60, frozen, { id: 'fedcba9876543210' });
  await sleep(4000);
  expect(await calls()).not.toContain('thaw');
});

it('waits while the domain is paused, and thaws when it runs again', async () => {
  await play({ state: 'paused (user)' });
  const made = await lease(1, frozen);
  await abandon(made);
  await sleep(3000);
  expect(await calls()).not.toContain('thaw');
  await play({ state: 'running (unpaused)' });
  expect(await until(gone)).toBeLessThan(5000);
  expect(await calls()).toContain('thaw');
});

it('ends without a thaw when the run of QEMU that was frozen is over', async () => {
  const made = await lease(1, frozen);
  await play({ id: '8' });
  await abandon(made);
  await until(gone);
  expect(await calls()).not.toContain('thaw');
});

it('knows the run again by its mark, when its id has changed (save and restore)', async () => {
  const made = await lease(1, frozen);
  await play({ id: '8', mark: record.id });
  await abandon(made);
  await until(gone);
  expect(await calls()).toContain('thaw');
});

it('goes on for 35 seconds after a freeze that was never answered', async () => {
  const made = await lease(1, { is: 'freezing' });
  await abandon(made);
  await sleep(20_000);
  await play({ frozen: '' }); // the freeze lands late
  await until(async () => !(await readdir(directory)).includes('frozen'), 4000);
  expect(await until(gone, 30_000)).toBeGreaterThan(10_000);
});

it('is not armed when its own status call fails', async () => {
  await play({ silent: '' });
  await expect(lease(1, frozen)).rejects.toMatchObject({ code: 'agent-disconnected' });
});

it('is started again by the other one when it dies', async () => {
  const made = await lease(3, frozen);
  process.kill((await readGuard(made, 1))?.identity.pid ?? 0, 'SIGKILL');
  await abandon(made);
  await until(async () => (await readLease(made))?.guards.length === 2);
  await until(gone);
  expect(await calls()).toContain('thaw');
});

it('is taken over by one process, and by none while another lives', async () => {
  const made = await lease(60, frozen);
  expect(await claimLease(made)).toBe('refused');
  await abandon(made);
  expect(await claimLease(made)).toBe('done');
  expect(await claimLease(made)).toBe('refused');
});

it('is renewed before its deadline, and never after', async () => {
  const made = await lease(2, frozen);
  expect(await renewLease(made, readBootCentis() + 400)).toBe('done');
  await sleep(2800);
  expect(await calls()).not.toContain('thaw');
  await until(async () => (await readLease(made))?.result !== null);
  expect(await renewLease(made, readBootCentis() + 400)).toBe('refused');
});

it('thaws at once when its lease is ended early', async () => {
  const made = await lease(60, frozen);
  writeDeadline(made, 0);
  const guard = await readGuard(made, 1);
  process.kill(guard?.identity.pid ?? 0, 'SIGUSR1');
  expect(await until(async () => (await readLease(made))?.result !== null)).toBeLessThan(1500);
});

it('is a program that every POSIX shell takes', async () => {
  const file = path.join(directory, 'guard.sh');
  await writeFile(file, readGuardProgram());
  for (const shell of [['dash'], ['bash', '--posix'], ['busybox', 'sh']]) {
    const [name = '', ...args] = shell;
    expect((await execa(name, [...args, '-n', file], { reject: false })).stderr).toBe('');
  }
});

async function isRunning(pid: number): Promise<boolean> {
  return readFile(`/proc/${pid}/stat`, 'utf8').then(
    (text) => !text.includes(') Z'),
    () => false,
  );
}
