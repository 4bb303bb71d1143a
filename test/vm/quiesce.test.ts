import { chmod, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as z from 'zod/mini';
import type { Guest } from '../../host/demo/guest.ts';
import { quiesceResult } from '../../host/quiesce/result.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// Three guests whose images lie on a Btrfs of their own, written to all the time: what is frozen must be frozen for all at one instant.

const mebibyte = 1024 ** 2;
let directory = '';
let mountpoint = '';
let rig: Rig;
let guests: Guest[] = [];
let cli: Cli;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'vt-q-'));
  await chmod(directory, 0o755); // QEMU runs as a user of its own
  mountpoint = path.join(directory, 'm');
  const backing = path.join(directory, 'btrfs.img');
  await writeFile(backing, '');
  await truncate(backing, 4096 * mebibyte);
  await execa('mkfs.btrfs', ['-q', backing]);
  await mkdir(mountpoint);
  await execa('mount', ['-o', 'loop', backing, mountpoint]);
  await execa('btrfs', ['subvolume', 'create', path.join(mountpoint, 'vm')]);
  rig = await startRig({ base: path.join(mountpoint, 'vm') });
  guests = await rig.bootAll(['q1', 'q2', 'q3'].map((name) => ({ name, disks: [{ format: 'raw', sizeBytes: 64 * mebibyte }] as const })));
  for (const guest of guests) {
    const write = 'while :; do echo "$n" >>/mnt/vda/log; n=$((n + 1)); cp /mnt/vda/log /mnt/vda/copy; done';
    await guest.runChecked(`n=0; setsid sh -c 'n=0; ${write}' </dev/null >/dev/null 2>&1 &`);
  }
  cli = await Cli.create(rig.uri);
}, 300_000);

afterAll(async () => {
  await cli?.[Symbol.asyncDispose]();
  await rig?.dispose();
  await execa('umount', [mountpoint], { reject: false });
  await rm(directory, { recursive: true, force: true });
});

const names = (): string[] => guests.map((guest) => guest.name);
const first = (): Guest => guests[0] as Guest;
const results = (envelope: { domains: unknown[] }) => z.array(quiesceResult).parse(envelope.domains);

/** Whether a copy of a guest's disk was written to when it was made: ext4 says so until its journal has been emptied, as a freeze does. */
async function isClean(image: string): Promise<boolean> {
  const { stdout } = await execa('dumpe2fs', ['-h', image]);
  const check = await execa('e2fsck', ['-fn', image], { reject: false });
  return !stdout.includes('needs_recovery') && check.exitCode === 0;
}

async function expectThawed(guest: Guest): Promise<void> {
  expect((await guest.run('sync; touch /mnt/vda/thawed', 20_000)).status).toBe(0);
  expect(await guest.virsh('qemu-agent-command', guest.uuid, '{"execute":"guest-fsfreeze-status"}')).toContain('"thawed"');
}

test('one Btrfs snapshot of three guests: all three copies are clean', async () => {
  const snapshot = path.join(mountpoint, 'snapshot');
  const dirty = path.join(mountpoint, 'dirty');
  await execa('btrfs', ['subvolume', 'snapshot', '-r', path.join(mountpoint, 'vm'), dirty]);
  const { result, envelope } = await cli.json(
    'quiesce',
    '--require',
    'filesystem',
    ...names(),
    '--',
    'btrfs',
    'subvolume',
    'snapshot',
    '-r',
    path.join(mountpoint, 'vm'),
    snapshot,
  );
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
  expect(envelope).toMatchObject({ command: 'quiesce', exitStatus: 0, commandStatus: 0, commandSignal: null });
  for (const each of results(envelope)) {
    expect(each).toMatchObject({
      status: 'ok',
      state: 'thawed',
      consistency: 'filesystem',
      frozenCount: 1,
      expectedCount: 1,
      thawedCount: 1,
    });
    expect(each.frozenMs).toBeGreaterThan(0);
  }
  for (const guest of guests) {
    const image = path.relative(path.join(mountpoint, 'vm'), guest.disk('vda').file ?? '');
    expect(await isClean(path.join(snapshot, image))).toBe(true);
    expect(await isClean(path.join(dirty, image)), 'the check itself can tell').toBe(false);
    await expectThawed(guest);
  }
});

test('the command is told what is frozen, and its status is ours', async () => {
  const file = path.join(directory, 'env');
  const { exitCode } = await cli.run('quiesce', ...names(), '--', 'sh', '-c', `env | grep -A2 ^VIRT_TRIM_ > ${file}; exit 9`);
  expect(exitCode).toBe(9);
  const told = await readFile(file, 'utf8');
  for (const guest of guests) expect(told).toContain(guest.uuid);
  expect(told).toContain(`VIRT_TRIM_DOMAINS=${names().join('\n')}`);
  expect(told).toContain(`VIRT_TRIM_IMAGES=${first().disk('vda').file ?? ''}`);
  expect(told).toMatch(/VIRT_TRIM_DEADLINE=\d{4}-/);
});

test('one guest that cannot be frozen: the command is not run, and the others are thawed', async () => {
  const [, second, third] = guests;
  await third?.virsh('domfsfreeze', third.uuid);
  const file = path.join(directory, 'not-run');
  try {
    const { result, envelope } = await cli.json('quiesce', ...names(), '--', 'touch', file);
    expect(result.exitCode).toBe(3);
    expect(results(envelope).map((each) => each.status)).toEqual(['ok', 'ok', 'refused']);
    await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
    await expectThawed(first());
    if (second !== undefined) await expectThawed(second);
    expect((await third?.run('touch /mnt/vda/x', 2000))?.status, 'theirs is still frozen').toBeNull();
    const thaw = await cli.run('thaw', third?.name ?? '');
    expect(thaw.exitCode).toBe(3);
    expect(thaw.stderr).toContain('somebody else');
    const forced = await cli.run('thaw', '--force', third?.name ?? '');
    expect(forced, forced.stderr).toMatchObject({ exitCode: 0 });
  } finally {
    await third?.connection.runAll([['domfsthaw', third.uuid]]);
  }
});

test('freeze, list, renew, thaw', async () => {
  const freeze = await cli.json('freeze', '--lease', '8s', first().name);
  expect(freeze.result, freeze.result.stderr).toMatchObject({ exitCode: 0 });
  const [frozen] = results(freeze.envelope);
  expect(frozen).toMatchObject({ state: 'frozen', frozenCount: 1, consistency: 'filesystem', guard: { kind: 'detached' } });
  expect((await cli.run('freeze', first().name)).exitCode).toBe(75);
  const renewed = await cli.json('lease', 'renew', '--lease', '60s', first().name);
  expect(renewed.result.exitCode).toBe(0);
  expect(await first().virsh('dumpxml', first().uuid)).toContain(frozen?.leaseId ?? '?');
  await new Promise((resolve) => setTimeout(resolve, 9000));
  const thaw = await cli.json('thaw', first().name);
  expect(thaw.result.exitCode).toBe(0);
  const [thawed] = results(thaw.envelope);
  expect(thawed).toMatchObject({ state: 'thawed', consistency: 'filesystem', wasOurs: true, leaseExpired: false, thawedCount: 1 });
  expect(thawed?.frozenMs).toBeGreaterThan(8000);
  await expectThawed(first());
});

test('hooks: the second gets 75, another caller too, post finds its lease, and says when it has run out', async () => {
  const { name } = first();
  const hook = (...args: string[]) => cli.run('hook', ...args);
  expect((await hook('pre', '--mode', 'freeze', '--caller', 'one', '--lease', '20s', name)).exitCode).toBe(0);
  expect((await hook('pre', '--mode', 'freeze', '--caller', 'two', name)).exitCode).toBe(75);
  expect((await hook('post', '--caller', 'two', name)).exitCode).toBe(75);
  expect((await hook('post', '--caller', 'one', name)).exitCode).toBe(0);
  expect((await hook('pre', '--mode', 'freeze', '--caller', 'one', '--lease', '2s', name)).exitCode).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 6000));
  const late = await hook('post', '--caller', 'one', name);
  expect(late.exitCode).toBe(1);
  expect(late.stderr).toContain('crash');
  expect((await hook('post', '--caller', 'one', '--if-leased', name)).exitCode).toBe(0);
  await expectThawed(first());
});

test('a required level that the guest cannot reach is refused, and one that was lost is undone', async () => {
  const { name } = first();
  const cut = path.join(directory, 'cut');
  const application = await cli.run('quiesce', '--require', 'application', name, '--', 'touch', cut);
  expect(application.exitCode).toBe(3);
  await expect(readFile(cut)).rejects.toMatchObject({ code: 'ENOENT' });
  const undo = path.join(directory, 'undo');
  await writeFile(undo, `#!/bin/sh\necho "$VIRT_TRIM_DOMAINS" >${directory}/undone\n`, { mode: 0o755 });
  const late = await cli.run('quiesce', '--lease', '2s', '--require', 'filesystem', '--undo', undo, name, '--', 'sleep', '4');
  expect(late, late.stderr).toMatchObject({ exitCode: 3 });
  expect(await readFile(path.join(directory, 'undone'), 'utf8')).toBe(`${name}\n`);
  await expectThawed(first());
});

test('a paused guest stands still without a freeze', async () => {
  await first().virsh('suspend', first().uuid);
  try {
    const { result, envelope } = await cli.json('quiesce', first().name, '--', 'true');
    expect(result.exitCode).toBe(0);
    expect(results(envelope)[0]).toMatchObject({ consistency: 'paused', frozenCount: null, leaseId: null });
    expect((await cli.run('quiesce', '--require', 'filesystem', first().name, '--', 'true')).exitCode).toBe(3);
  } finally {
    await first().virsh('resume', first().uuid);
  }
});

test('leaves nothing behind', async () => {
  expect((await execa('find', [cli.stateDirectory, '-mindepth', '2'])).stdout).toBe('');
  for (const guest of guests) expect(await guest.virsh('dumpxml', guest.uuid)).not.toContain('xmlns/domain/1/lease');
});
