import { existsSync, readdirSync } from 'node:fs';
import { chmod, cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod/mini';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheDirectory } from '../../host/demo/cache.ts';
import { ensureKernel } from '../../host/demo/kernel.ts';
import { demoStep } from '../../host/demo/schema.ts';
import { trimResult } from '../../host/trim/schema.ts';
import { Cli } from '../rig/cli.ts';

const mebibyte = 1024 * 1024;

let base: string;
let cache: string;
let cli: Cli;
beforeEach(async () => {
  base = await mkdtemp('/var/tmp/vt-demo-');
  await chmod(base, 0o755); // QEMU's own user has to get in
  // A cache of our own, filled from the one that all tests share: --purge removes it.
  cache = await mkdtemp(path.join(tmpdir(), 'virt-trim-cache-'));
  await ensureKernel();
  for (const name of readdirSync(cacheDirectory()).filter((entry) => entry.startsWith('kernel-cloud'))) {
    await cp(path.join(cacheDirectory(), name), path.join(cache, name), { recursive: true });
  }
  cli = await Cli.create('', { VIRT_TRIM_RIG_BASE: base, VIRT_TRIM_DEMO_CACHE: cache, VIRT_TRIM_GUEST_DIR: path.resolve('guest') });
});
afterEach(async () => {
  await cli[Symbol.asyncDispose]();
  for (const directory of [base, cache]) await rm(directory, { recursive: true, force: true });
});

describe('virt-trim demo', () => {
  it('gets the space of a real guest back, measured, and keeps nothing but its cache', async () => {
    const { result, envelope } = await cli.json('demo');
    expect(result.stderr).toContain('Debian’s kernel and virt-trim’s own agent');
    expect(result).toMatchObject({ exitCode: 0 });
    const steps = z.array(demoStep).parse(envelope['steps']);
    expect(steps.map((step) => step.step)).toEqual(['clean', 'written', 'deleted', 'trimmed']);
    const [clean, written, deleted, trimmed] = steps.map((step) => step.imageBytes) as [number, number, number, number];
    expect(written - clean).toBeGreaterThanOrEqual(300 * mebibyte);
    expect(deleted).toBeGreaterThanOrEqual(written);
    expect(Math.abs(trimmed - clean)).toBeLessThan(0.05 * clean + 2 * mebibyte);
    const domain = trimResult.parse(envelope.domains[0]);
    expect(domain).toMatchObject({ name: 'virt-trim-demo', status: 'ok' });
    expect(Math.abs((domain.disks[0]?.reclaimedBytes ?? 0) - (deleted - trimmed))).toBeLessThanOrEqual(65_536);
    expect(readdirSync(base)).toEqual([]);
    expect(readdirSync(cache)).toContainEqual(expect.stringMatching(/^kernel-cloud-/));
    expect(readdirSync(cli.stateDirectory)).toEqual([]); // not a line in the user's history
  });

  it('says what it does, shows a table, and --purge removes the cache too', async () => {
    const result = await cli.run('demo', '--purge', '--agent', 'qemu-ga');
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('Debian’s kernel and qemu-ga') as string });
    expect(result.stdout).toMatch(/deleted them +\d.* KiB +30\d MiB\nvirt-trim trim .* MiB\n/);
    expect(result.stderr).toMatch(/a private hypervisor/);
    expect(existsSync(cache)).toBe(false);
    expect(readdirSync(base)).toEqual([]);
  });

  it('leaves nothing after a Ctrl-C in the middle', async () => {
    const child = cli.start('demo');
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    while (!stderr.includes('writes 300 MiB') && child.exitCode === null) await sleep(50);
    child.kill('SIGINT');
    const result = await child;
    expect(result.exitCode).toBe(130);
    expect(result.stdout).toBe('');
    expect(readdirSync(base)).toEqual([]);
  });

  it('refuses a connection, which it would not use', async () => {
    await using other = await Cli.create('test:///default');
    expect(await other.run('demo')).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/-c: the demo brings/) as string,
    });
  });
});
