import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const units = 'host/units';
let root: string;

/** A root directory that has what the units name, so that systemd-analyze finds fault with the units alone. */
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'virt-trim-units-'));
  for (const directory of ['usr/bin', 'bin', 'etc/systemd/system', 'usr/lib/systemd'])
    await mkdir(path.join(root, directory), { recursive: true });
  await copyFile('/bin/true', path.join(root, 'usr/bin/virt-trim'));
  await copyFile('/bin/kill', path.join(root, 'bin/kill'));
  for (const program of ['usr/bin/virt-trim', 'bin/kill']) await chmod(path.join(root, program), 0o755);
  await cp('/usr/lib/systemd/system', path.join(root, 'usr/lib/systemd/system'), { recursive: true, verbatimSymlinks: true });
  for (const name of await readdir(units)) await copyFile(path.join(units, name), path.join(root, 'etc/systemd/system', name));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function verify(name: string): Promise<{ exitCode: number | undefined; stderr: string }> {
  const { exitCode, stderr } = await execa('systemd-analyze', ['verify', `--root=${root}`, '--man=no', name], { reject: false });
  return {
    exitCode,
    stderr: stderr
      .split('\n')
      .filter((line) => line.includes('virt-trim'))
      .join('\n'),
  };
}

describe('the units', () => {
  it.each(['virt-trim.service', 'virt-trim-once.service', 'virt-trim-once.timer'])('%s has no fault that systemd can see', async (name) => {
    expect(await verify(name)).toEqual({ exitCode: 0, stderr: '' });
  });

  it('a fault would be seen', async () => {
    const text = await readFile(path.join(units, 'virt-trim.service'), 'utf8');
    await writeFile(path.join(root, 'etc/systemd/system/virt-trim-broken.service'), text.replace('ProtectClock=', 'ProtectClok='));
    expect((await verify('virt-trim-broken.service')).stderr).toMatch(/Unknown key 'ProtectClok'/);
  });

  it.each(['virt-trim.service', 'virt-trim-once.service'])('%s is hardened', async (name) => {
    const { stdout } = await execa('systemd-analyze', ['security', '--offline=true', '--no-pager', path.join(units, name)], {
      reject: false,
    });
    const exposure = Number(/Overall exposure level for [^:]+: ([\d.]+)/.exec(stdout)?.[1]);
    expect(exposure).toBeLessThan(4);
  });

  it('the watchdog, the stop timeout and the commands are what the program expects', async () => {
    const text = await readFile(path.join(units, 'virt-trim.service'), 'utf8');
    expect(text).toMatch(/^Type=notify$/m);
    expect(text).toMatch(/^NotifyAccess=all$/m);
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(text)?.[1])).toBeGreaterThan(60);
  });
});
