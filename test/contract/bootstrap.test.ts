import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa, type Options } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// A copy where anybody can read it: the tree of the project may lie below a home of mode 0700.
let directory: string;
let program: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-bootstrap-'));
  await chmod(directory, 0o755);
  program = path.join(directory, 'bootstrap.mjs');
  await copyFile('test/rig/bootstrap.mjs', program);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const command = ['--for', 'demo', '--', 'echo', 'it ran'];

async function run(file: string, args: readonly string[], options: Options = {}) {
  const result = await execa(file, [...args], { ...options, reject: false, stdin: 'ignore' });
  return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
}

/** Nothing was installed, nothing was run: what is missing is named, and how to get it. */
describe('what the bootstrap cannot install is named, all of it at once, with status 2', () => {
  it('root', async () => {
    const result = await run(process.execPath, [program, ...command], { uid: 65_534, cwd: directory });
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toMatch(/^npm run demo needs, and does not find:\n- root, .*sudo.*$/s);
    expect(result.stderr.trim().split('\n')).toHaveLength(2);
  });

  it('a newer Node', async () => {
    const preload = path.join(directory, 'old.cjs');
    await writeFile(preload, "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.18.3' } });\n");
    const result = await run(process.execPath, ['--require', preload, program, ...command]);
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toMatch(/- Node 20\.19 or newer: this is 20\.18\.3\..*nodejs\.org/s);
  });

  it('another distribution, and without root as well', async () => {
    const release = path.join(directory, 'os-release');
    await writeFile(release, 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n');
    const inside = 'mount --bind "$1" /etc/os-release && shift && exec setpriv --reuid=65534 --clear-groups "$@"';
    const result = await run('unshare', [
      '--mount',
      '--propagation',
      'unchanged',
      'sh',
      '-c',
      inside,
      'sh',
      release,
      process.execPath,
      program,
      ...command,
    ]);
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toMatch(/- Debian 12 or 13: this is Ubuntu 24\.04\.1 LTS\..*debootstrap/s);
    expect(result.stderr).toMatch(/- root/);
  });

  it('a purpose', async () => {
    expect(await run(process.execPath, [program])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--for demo|test') as string,
    });
  });
});
