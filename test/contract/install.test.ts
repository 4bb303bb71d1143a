import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeIso, consoleScript } from '../../host/install/iso-image.ts';
import { selfExtracting, type Payload } from '../../host/install/payload.ts';
import { createOverlay, commitOverlay } from '../../host/libvirt/qemu-img.ts';

// The real install script, run by busybox' shell in a root of its own: a guest without a virtual machine.
let root: string;

async function program(name: string, text: string): Promise<void> {
  await writeFile(path.join(root, 'bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

/** The agent in these tests is a text: what counts is where it goes. */
const agent = Buffer.from('the agent of x86_64\n');
const sums = `${createHash('sha256').update(agent).digest('hex')}  virt-trim-agent-x86_64\n`;

async function payload(change: Record<string, string> = {}): Promise<Payload> {
  const files: Record<string, string | Uint8Array> = {
    'in-guest.sh': await readFile('host/install/in-guest.sh'),
    'virt-trim-agent-x86_64': agent,
    SHA256SUMS: sums,
    'virt-trim-agent.service': 'unit\n',
    'virt-trim-agent.openrc': 'openrc\n',
    'virt-trim-agent.init': 'init\n',
    ...change,
  };
  return new Map(Object.entries(files).map(([name, content]) => [name, typeof content === 'string' ? Buffer.from(content) : content]));
}

async function run(files: Payload, ...args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number | undefined }> {
  const input = selfExtracting(files, '0123456789ab', args);
  const { stdout, stderr, exitCode } = await execa('/usr/sbin/chroot', [root, '/bin/sh', '-s'], {
    input,
    reject: false,
    env: { PATH: '/bin' },
    extendEnv: false,
  });
  return { stdout, stderr, exitCode };
}

/** Every file of the root with what is in it. */
async function tree(): Promise<string> {
  const { stdout } = await execa('find', [root, '-path', `${root}/bin`, '-prune', '-o', '-type', 'f', '-exec', 'md5sum', '{}', '+']);
  return stdout.split('\n').sort().join('\n');
}

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'vt-root-'));
  await chmod(root, 0o755);
  for (const name of ['bin', 'sbin', 'etc', 'tmp', 'run', 'proc', 'dev', 'var/lib', 'usr/local'])
    await mkdir(path.join(root, name), { recursive: true });
  await copyFile('/bin/busybox', path.join(root, 'bin/busybox'));
  for (const name of 'sh cat cp mv rm mkdir rmdir chmod grep sed sort uniq tail tr base64 sha256sum readlink dirname id uname kill sleep touch ls'.split(
    ' ',
  ))
    await symlink('busybox', path.join(root, 'bin', name));
  await symlink('../bin/busybox', path.join(root, 'sbin/init'));
  await execa('mknod', ['-m', '666', path.join(root, 'dev/null'), 'c', '1', '3']);
  await writeFile(path.join(root, 'etc/inittab'), '::sysinit:/etc/rc\n');
  await writeFile(path.join(root, 'etc/passwd'), 'root::0:0:root:/:/bin/sh\n');
});
afterEach(async () => {
  await execa('umount', [path.join(root, 'usr/local')], { reject: false });
  await rm(root, { recursive: true, force: true });
});

/** A distribution's package manager, as far as the script calls it: packages are files below /packages. */
async function fakeDebian(brings: readonly string[], before = ''): Promise<void> {
  await mkdir(path.join(root, 'packages'), { recursive: true });
  for (const name of ['libc6', 'init']) await writeFile(path.join(root, 'packages', name), '');
  await program('dpkg-query', 'for p in /packages/*; do echo "ii  ${p##*/}"; done');
  await program(
    'dpkg',
    '[ "$1" = --purge ] || exit 0; shift; for p in "$@"; do rm /packages/$p; [ $p = qemu-guest-agent ] && rm -f /bin/qemu-ga; done; exit 0',
  );
  const add = [':', ...brings.map((name) => `: >/packages/${name}`)].join('; ');
  await program(
    'apt-get',
    `case "$*" in *update*) exit 0 ;; esac; ${before} ${add}; printf '#!/bin/sh\\n' >/bin/qemu-ga; chmod 755 /bin/qemu-ga`,
  );
  await mkdir(path.join(root, 'etc/runlevels'));
  await program('rc-update', 'echo "$@" >>/rc-update');
}

describe('in-guest.sh', () => {
  it('brings our agent where there is no package manager, and takes away exactly what it has brought', async () => {
    const before = await tree();
    const installed = await run(await payload(), 'install', 'auto', 'offline');
    expect(installed.stdout, installed.stderr).toBe('virt-trim-result: virt-trim');
    expect(await readFile(path.join(root, 'usr/local/sbin/virt-trim-agent'))).toEqual(agent);
    expect(await readFile(path.join(root, 'etc/inittab'), 'utf8')).toBe('::sysinit:/etc/rc\n::respawn:/usr/local/sbin/virt-trim-agent\n');
    expect(await readdir(path.join(root, 'tmp'))).toEqual([]);
    const removed = await run(await payload(), 'remove', 'offline');
    expect(removed.stdout, removed.stderr).toBe('virt-trim-result: removed');
    expect(await tree()).toBe(before);
    expect((await run(await payload(), 'remove', 'offline')).exitCode).toBe(26);
  });

  it("brings the distribution's agent and enables it; removes that and what came with it, and no other package", async () => {
    await fakeDebian(['qemu-guest-agent', 'libglib2.0-0']);
    const before = await readdir(path.join(root, 'packages'));
    const installed = await run(await payload(), 'install', 'auto', 'offline');
    expect(installed.stdout, installed.stderr).toBe('virt-trim-result: qemu-ga');
    expect(await readFile(path.join(root, 'rc-update'), 'utf8')).toBe('add qemu-guest-agent default\n');
    const removed = await run(await payload(), 'remove', 'offline');
    expect(removed.stdout, removed.stderr).toBe('virt-trim-result: removed');
    expect(await readdir(path.join(root, 'packages'))).toEqual(before);
    expect(await readFile(path.join(root, 'rc-update'), 'utf8')).toMatch(/del qemu-guest-agent default/);
  });

  it('leaves an agent alone that was there before', async () => {
    await fakeDebian([]);
    await program('qemu-ga', ':');
    expect((await run(await payload(), 'install', 'auto', 'offline')).stdout).toBe('virt-trim-result: qemu-ga');
    expect((await run(await payload(), 'remove', 'offline')).stdout).toBe('virt-trim-result: removed');
    expect(await readdir(path.join(root, 'bin'))).toContain('qemu-ga');
  });

  it('takes ours where the package manager cannot bring qemu-ga; says so and leaves nothing where only that will do', async () => {
    await fakeDebian([], 'echo "Temporary failure resolving" >&2; exit 100;');
    const before = await tree();
    const only = await run(await payload(), 'install', 'qemu-ga', 'offline');
    expect(only.exitCode).toBe(21);
    expect(only.stdout).toBe('virt-trim-result: failed-21');
    expect(only.stderr).toMatch(/Temporary failure resolving/);
    expect(await tree()).toBe(before);
    expect((await run(await payload(), 'install', 'auto', 'offline')).stdout).toBe('virt-trim-result: virt-trim');
  });

  it('installs nothing with a wrong checksum', async () => {
    const before = await tree();
    const { exitCode } = await run(
      await payload({ SHA256SUMS: `${'0'.repeat(64)}  virt-trim-agent-x86_64\n` }),
      'install',
      'virt-trim',
      'offline',
    );
    expect(exitCode).toBe(24);
    expect(await tree()).toBe(before);
  });

  it('leaves nothing on a disk that is full', async () => {
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', path.join(root, 'usr/local')]);
    const before = await tree();
    const { exitCode, stdout } = await run(
      await payload({ 'virt-trim-agent-x86_64': 'x'.repeat(1e6), SHA256SUMS: '' }),
      'install',
      'virt-trim',
      'offline',
    );
    expect(exitCode).toBe(24);
    const big = Buffer.alloc(1e6, 120);
    const bigSums = `${createHash('sha256').update(big).digest('hex')}  virt-trim-agent-x86_64\n`;
    const full = await run(
      await payload({ 'virt-trim-agent-x86_64': big.toString(), SHA256SUMS: bigSums }),
      'install',
      'virt-trim',
      'offline',
    );
    expect(full.exitCode, full.stderr).toBe(22);
    expect(stdout).toContain('failed-24');
    expect(await tree()).toBe(before);
  });

  it('takes away what an install had brought that was killed on the way', async () => {
    await fakeDebian(['qemu-guest-agent', 'libglib2.0-0'], '');
    const before = await readdir(path.join(root, 'packages'));
    await program('apt-get', ': >/packages/libglib2.0-0; : >/packages/qemu-guest-agent; sleep 60');
    const child = execa('/usr/sbin/chroot', [root, '/bin/sh', '-s'], {
      input: selfExtracting(await payload(), '0123456789ab', ['install', 'auto', 'offline']),
      reject: false,
      detached: true,
      env: { PATH: '/bin' },
      extendEnv: false,
    });
    while (!(await readdir(path.join(root, 'packages'))).includes('qemu-guest-agent'))
      await new Promise((resolve) => setTimeout(resolve, 20));
    const holder = (await readFile(path.join(root, 'run/virt-trim-install.lock/pid'), 'utf8')).trim();
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await child;
    // Killed, but there until whoever inherited it has taken its status.
    while (existsSync(`/proc/${holder}`)) await new Promise((resolve) => setTimeout(resolve, 20));
    const removed = await run(await payload(), 'remove', 'offline');
    expect(removed.stdout, removed.stderr).toBe('virt-trim-result: removed');
    expect(await readdir(path.join(root, 'packages'))).toEqual(before);
    expect(await readdir(path.join(root, 'var/lib'))).toEqual([]);
  });

  it('runs nothing of a program that arrives cut off', async () => {
    const before = await tree();
    const text = selfExtracting(await payload(), '0123456789ab', ['install', 'auto', 'offline']);
    for (const part of [0.2, 0.5, 0.9, 0.999]) {
      const input = text.slice(0, Math.floor(text.length * part));
      await execa('/usr/sbin/chroot', [root, '/bin/sh', '-s'], { input, reject: false, env: { PATH: '/bin' }, extendEnv: false });
    }
    expect(await tree()).toBe(before);
  });

  it('is clean to shellcheck where that is installed', async () => {
    const { exitCode, stdout } = await execa(
      'sh',
      ['-c', 'command -v shellcheck >/dev/null || exit 0; shellcheck -s sh host/install/in-guest.sh'],
      {
        reject: false,
      },
    );
    expect(stdout).toBe('');
    expect(exitCode).toBe(0);
  });
});

describe('the ISO', () => {
  it('holds what was put into it, under its label', async () => {
    const file = path.join(root, 'a.iso');
    const files = new Map([...(await payload()), ['install.sh', Buffer.from(consoleScript('install virt-trim'))] as const]);
    await makeIso('/usr/bin/xorriso', files, 'VIRT_TRIM', file, root);
    const { stdout } = await execa('xorriso', ['-indev', file, '-pvd_info', '-find', '/'], { reject: false });
    expect(stdout).toMatch(/Volume Id +: VIRT_TRIM/);
    for (const name of files.keys()) expect(stdout).toContain(`/${name}`);
  });
});

describe('the overlay', () => {
  it('leaves the image as it is until it is committed; committing twice is as good as once', async () => {
    const [base, overlay] = [path.join(root, 'base.qcow2'), path.join(root, 'overlay.qcow2')];
    const image = (...args: string[]) => execa('qemu-img', args);
    const io = (file: string, ...commands: string[]) =>
      execa('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), file]);
    await image('create', '-q', '-f', 'qcow2', base, '64M');
    await io(base, 'write -P 1 0 1M');
    const before = await readFile(base);
    await createOverlay({ path: base, format: 'qcow2' }, overlay);
    await io(overlay, 'write -P 2 0 64k');
    expect(await readFile(base)).toEqual(before);
    await commitOverlay(overlay);
    await commitOverlay(overlay);
    const { stdout } = await io(base, 'read -P 2 0 64k', 'read -P 1 64k 64k');
    expect(stdout).not.toMatch(/failed/);
  });
});
