import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SocketAgent } from './guest-agents.ts';

const root = resolve(import.meta.dirname, '../..');
const dist = join(root, 'guest/dist');
const mebibyte = 2 ** 20;

/** Program headers and dynamic tags of an ELF file of 64 bits (elf(5)). */
function readElf(path: string): { machine: number; type: number; headers: number[]; tags: number[] } {
  const bytes = readFileSync(path);
  const headers: number[] = [];
  const tags: number[] = [];
  const [offset, size, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  for (let i = 0; i < count; i++) {
    const at = offset + i * size;
    const type = bytes.readUInt32LE(at);
    headers.push(type);
    if (type !== 2) continue;
    const [from, length] = [Number(bytes.readBigUInt64LE(at + 8)), Number(bytes.readBigUInt64LE(at + 32))];
    for (let tag = from; tag < from + length; tag += 16) tags.push(Number(bytes.readBigUInt64LE(tag)));
  }
  return { machine: bytes.readUInt16LE(18), type: bytes.readUInt16LE(16), headers, tags };
}

const interpreter = 3;
const needed = 1;
const positionIndependent = 3;

describe.each([
  ['x86_64', 62, []],
  ['aarch64', 183, ['qemu-aarch64-static']],
] as const)('%s', (architecture, machine, runner) => {
  const file = join(dist, `virt-trim-agent-${architecture}`);

  test('one static file of less than 1 MiB that needs no other', () => {
    const elf = readElf(file);
    expect(elf.machine).toBe(machine);
    expect(elf.type).toBe(positionIndependent);
    expect(elf.headers).not.toContain(interpreter);
    expect(elf.tags).not.toContain(needed);
    expect(readFileSync(file).length).toBeLessThan(mebibyte);
  });

  test('neither script nor builder shows in it: no path of the machine that built it', () => {
    const text = readFileSync(file).toString('latin1');
    expect(text).not.toContain(root);
    expect(text).not.toContain('/home/');
    expect(text).not.toContain('/root/');
    expect(text).not.toContain(tmpdir() + '/virt-trim');
  });

  test('is what SHA256SUMS and build-info.json say', () => {
    const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
    expect(readFileSync(join(dist, 'SHA256SUMS'), 'utf8')).toContain(`${sha256}  virt-trim-agent-${architecture}\n`);
    const info = JSON.parse(readFileSync(join(dist, 'build-info.json'), 'utf8')) as {
      engine: { sha256: string };
      files: { sha256: string }[];
    };
    expect(info.files.map((it) => it.sha256)).toContain(sha256);
    expect(info.engine.sha256).toHaveLength(64);
  });

  test('answers', async () => {
    await using agent = new SocketAgent(file, { runner });
    const port = await agent.open();
    expect(await port.ask('guest-sync', { id: 123 })).toEqual({ return: 123 });
    expect(((await port.ask('guest-get-osinfo')).return as { machine: string }).machine).toBe(architecture);
    expect((await port.ask('guest-network-get-interfaces')).return).toEqual(
      expect.arrayContaining([expect.objectContaining({ name: 'lo' })]),
    );
    expect((await port.ask('guest-get-fsinfo')).return).toEqual(
      expect.arrayContaining([expect.objectContaining({ mountpoint: expect.any(String) })]),
    );
  });
});

test('two builds, in different places, give the same bytes', () => {
  const [one, two] = ['a', 'b'].map((name) => {
    const directory = mkdtempSync(join(tmpdir(), `rebuild-${name}-`));
    const out = join(directory, 'out');
    const built = spawnSync(join(root, 'node_modules/.bin/tsx'), [join(root, 'guest/build/main.ts'), '--out', out], {
      encoding: 'utf8',
      cwd: directory,
      env: { ...process.env, TMPDIR: directory },
    });
    expect(built.stderr).toBe('');
    expect(existsSync(join(out, 'build-info.json'))).toBe(true);
    const files = ['virt-trim-agent-x86_64', 'virt-trim-agent-aarch64', 'SHA256SUMS'].map((file) => readFileSync(join(out, file)));
    rmSync(directory, { recursive: true });
    return files;
  });
  expect(one).toHaveLength(3);
  for (const [at, bytes] of (one ?? []).entries()) expect(bytes.equals(two?.[at] ?? Buffer.alloc(0))).toBe(true);
  // And what lies in guest/dist is what this tree gives.
  expect(one?.[2]?.toString()).toBe(readFileSync(join(dist, 'SHA256SUMS'), 'utf8'));
}, 300_000);

describe('command line', () => {
  const run = (...args: string[]) =>
    spawnSync(join(dist, 'virt-trim-agent-x86_64'), args, { encoding: 'utf8', env: { QGA_CONF: '/nowhere' } });

  test.each([
    [
      ['-F'],
      'virt-trim-agent: freeze hooks (-F) are not supported: this agent starts no processes; a guest that needs hooks keeps qemu-ga\n',
    ],
    [['-m', 'unix-listen'], 'virt-trim-agent: must specify a path for this channel\n'],
    [['--nope'], `virt-trim-agent: Unknown option, try 'virt-trim-agent --help' for more information.\n`],
    [['-p', '/nowhere/port'], `virt-trim-agent: error opening channel '/nowhere/port': No such file or directory\n`],
  ])('%j ends with 1 and one line', (args, line) => {
    const { status, stderr, stdout } = run(...args);
    expect([status, stdout, stderr]).toEqual([1, '', line]);
  });

  test('-V, -h and -b help', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(run('-V').stdout).toBe(`virt-trim-agent ${version}\n`);
    expect(run('-h').stdout).toContain('--watchdog T');
    expect(run('-b', 'help').stdout.split('\n')).toContain('virt-trim-set-watchdog');
  });
});
