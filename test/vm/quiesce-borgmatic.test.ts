import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Guest } from '../../host/demo/guest.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// borgmatic and borg as Debian ships them (1.7, sections), with the hooks of `virt-trim hook adapters borgmatic`.

let directory = '';
let rig: Rig;
let guest: Guest;
let cli: Cli;
let env: Record<string, string> = {};

const inside = (...parts: string[]): string => path.join(directory, ...parts);

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'vt-borg-'));
  rig = await startRig();
  guest = await rig.boot({ name: 'db1', disks: [{ format: 'raw', sizeBytes: 64 * 1024 * 1024 }] });
  const write = 'while :; do echo "$n" >>/mnt/vda/log; n=$((n + 1)); cp /mnt/vda/log /mnt/vda/copy; done';
  await guest.runChecked(`setsid sh -c 'n=0; ${write}' </dev/null >/dev/null 2>&1 &`);
  cli = await Cli.create(rig.uri);
  await mkdir(inside('bin'));
  const wrapper = `#!/bin/sh\nexport VIRT_TRIM_STATE_DIR='${cli.stateDirectory}'\nexec '${process.execPath}' '${cli.file}' -c '${rig.uri}' "$@"\n`;
  await writeFile(inside('bin', 'virt-trim'), wrapper, { mode: 0o755 });
  env = { PATH: `${inside('bin')}:${process.env['PATH'] ?? ''}`, HOME: directory, BORG_BASE_DIR: directory };
  await execa('borg', ['init', '-e', 'none', inside('repo')], { env });
}, 300_000);

afterAll(async () => {
  await cli?.[Symbol.asyncDispose]();
  await rig?.dispose();
  await rm(directory, { recursive: true, force: true });
});

async function borgmatic(borgOptions: Readonly<Record<string, string>> = {}) {
  const post = 'virt-trim hook post --caller borgmatic';
  const config = {
    location: { source_directories: [guest.disk('vda').file], repositories: [inside('repo')] },
    storage: { unknown_unencrypted_repo_access_is_ok: true, extra_borg_options: borgOptions },
    hooks: {
      before_backup: ['virt-trim hook pre --mode freeze --caller borgmatic --lease 2m --require filesystem db1'],
      after_backup: [`${post} db1`],
      on_error: [`${post} --if-leased db1`],
    },
  };
  await writeFile(inside('config.yaml'), stringify(config), { mode: 0o600 });
  return execa('borgmatic', ['--config', inside('config.yaml'), '--verbosity', '1', 'create'], { env, reject: false, all: true });
}

const archives = async (): Promise<string[]> =>
  (await execa('borg', ['list', '--short', inside('repo')], { env })).stdout.split('\n').filter((line) => line !== '');
const isWritable = async (timeoutMs = 20_000): Promise<boolean> => (await guest.run('touch /mnt/vda/x', timeoutMs)).status === 0;

test('the image in the archive is clean, and the guest goes on', async () => {
  const image = guest.disk('vda').file ?? '';
  const result = await borgmatic();
  expect(result.exitCode, result.all).toBe(0);
  const [archive = ''] = await archives();
  await execa('borg', ['extract', `${inside('repo')}::${archive}`], { cwd: directory, env });
  const copy = inside(image.slice(1));
  expect((await execa('dumpe2fs', ['-h', copy])).stdout).not.toContain('needs_recovery');
  expect((await execa('e2fsck', ['-fn', copy], { reject: false })).exitCode).toBe(0);
  expect(await isWritable()).toBe(true);
});

test('a guest that is held: 75 is a soft failure, nothing is backed up, and the holder keeps it', async () => {
  const before = await archives();
  expect((await cli.run('freeze', '--lease', '60s', 'db1')).exitCode).toBe(0);
  try {
    const result = await borgmatic();
    expect(result.exitCode, result.all).toBe(0);
    expect(result.all).toContain('soft failure');
    expect(await archives()).toEqual(before);
    expect(await isWritable(1500)).toBe(false);
  } finally {
    expect((await cli.run('thaw', 'db1')).exitCode).toBe(0);
  }
});

test('a backup that fails: on_error thaws', async () => {
  const result = await borgmatic({ create: '--no-such-option' });
  expect(result.exitCode).not.toBe(0);
  expect(result.all).toContain('no-such-option');
  expect(await isWritable()).toBe(true);
  expect((await execa('find', [cli.stateDirectory, '-mindepth', '2'])).stdout).toBe('');
});
