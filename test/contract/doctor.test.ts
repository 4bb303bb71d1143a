import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { probeHole } from '../../host/doctor/gather/hole-probe.ts';
import { findRunningQemus } from '../../host/doctor/gather/running-qemu.ts';
import { doctorResult } from '../../host/doctor/schema.ts';
import { Cli } from '../rig/cli.ts';

// libvirt's test driver: real virsh, no daemon, and a domain that no QEMU runs.

let cli: Cli;
let directory = '';
beforeAll(async () => {
  cli = await Cli.create('test:///default');
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-doctor-'));
});
afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

describe('doctor', () => {
  test('says what it sees of a domain that is not QEMU', async () => {
    const { result, envelope } = await cli.json('doctor');
    expect(result.exitCode).toBe(0);
    const [domain] = envelope.domains.map((one) => doctorResult.parse(one));
    expect(domain).toMatchObject({ name: 'test', status: 'ok', verdict: 'blocks' });
    expect(domain?.findings.map((finding) => finding.rule)).toContain('agent-channel');
  });

  test('--check: one line, and 1 where something blocks', async () => {
    const { exitCode, stdout } = await cli.run('doctor', '--check');
    expect(stdout.trim().split('\n')).toEqual([expect.stringMatching(/^BLOCKS: 1 blocked: test; /)]);
    expect(exitCode).toBe(1);
  });

  test('a name that is not there does not stop the others', async () => {
    const { result, envelope } = await cli.json('doctor', 'nosuch', 'test');
    expect(envelope.domains).toMatchObject([
      { name: 'test', status: 'ok' },
      { name: 'nosuch', status: 'failed', code: 'domain-unknown' },
    ]);
    expect(result.exitCode).toBe(64);
  });

  test('writes nothing: no state directory appears', async () => {
    const state = path.join(directory, 'state');
    const reading = await Cli.create('test:///default', { VIRT_TRIM_STATE_DIR: state });
    await reading.run('doctor');
    await expect(stat(state)).rejects.toThrow('ENOENT');
    await reading[Symbol.asyncDispose]();
  });
});

describe('monitoring', () => {
  test('a daemon that is not there is UNKNOWN on stdout, status 3', async () => {
    const lost = await Cli.create('qemu+unix:///system?socket=/nonexistent');
    const { exitCode, stdout } = await lost.run('report', '--nagios');
    expect(stdout).toMatch(/^VIRT-TRIM UNKNOWN - cannot connect to /);
    expect(exitCode).toBe(3);
    await lost[Symbol.asyncDispose]();
  });

  test('the textfile is replaced in one step and can be read by node_exporter', async () => {
    const file = path.join(directory, 'virt-trim.prom');
    expect((await cli.run('report', '--prometheus', file)).exitCode).toBe(0);
    expect(await readFile(file, 'utf8')).toContain(
      'virt_trim_domain_running{domain="test",uuid="6695eb01-f6a4-8304-79aa-97f2502e193f"} 1\n',
    );
    expect(((await stat(file)).mode & 0o777).toString(8)).toBe('644');
    expect(await readdir(directory)).toEqual(['virt-trim.prom']);
  });

  test('a file that cannot be written is an error and leaves nothing behind', async () => {
    const { exitCode, stderr } = await cli.run('report', '--prometheus', path.join(directory, 'nosuch', 'a.prom'));
    expect(stderr).toContain('cannot be written');
    expect(exitCode).toBe(1);
  });
});

describe('the storage probe', () => {
  test('measures a hole and removes its file', async () => {
    const probe = await probeHole(directory);
    expect(probe?.error).toBe(null);
    expect(probe?.writtenBytes).toBeGreaterThanOrEqual(1024 ** 2);
    expect(probe?.afterPunchBytes).toBeLessThan(64 * 1024);
    expect((await readdir(directory)).filter((name) => name.startsWith('.virt-trim'))).toEqual([]);
  });

  test('where it may not write it knows nothing', async () => {
    expect(await probeHole('/proc')).toBe(null);
  });
});

test('a look over /proc survives whatever runs there', async () => {
  for (const [uuid, qemu] of await findRunningQemus()) {
    expect(uuid).toMatch(/^[0-9a-f-]{36}$/);
    expect(qemu.pid).toBeGreaterThan(1);
  }
});
