import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listedResult, type ListedResult } from '../../host/list/schema.ts';
import { trimResult, type TrimResult } from '../../host/trim/schema.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { garbageAgent, hungAgent, slowAgent } from '../rig/agent-scripts.ts';
import { Cli, type CliResult } from '../rig/cli.ts';
import { defaultAgent } from '../rig/default-agent.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import type { ScriptedAgent } from '../rig/scripted-agent.ts';

const mebibyte = 1024 * 1024;
const healthy = ['one', 'two', 'three', 'four', 'five'];
const named = [...healthy, 'hung', 'garbage', 'off'];
const slow = ['slow-1', 'slow-2', 'slow-3'];
const slowMs = 1500;

let rig: Rig;
let cli: Cli;
let guests: Guest[];
const agents: ScriptedAgent[] = [];

const small = { disks: [{ filesystem: null, sizeBytes: 16 * mebibyte }] } as const;
const allocated = async (guest: Guest): Promise<number> => (await stat(guest.disk('vda').file ?? '')).blocks * 512;

beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
  await rig.define({ name: 'off', ...small });
  guests = await rig.bootAll(healthy.map((name) => ({ name, disks: [{ sizeBytes: 256 * mebibyte }] })));
  await Promise.all([
    rig.bootScripted({ name: 'hung', ...small }, hungAgent()),
    rig.bootScripted({ name: 'garbage', ...small }, garbageAgent()),
    ...slow.map(async (name) => agents.push((await rig.bootScripted({ name, ...small }, slowAgent(slowMs))).agent)),
  ]);
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

const byName = (domains: readonly unknown[]): Map<string, TrimResult> =>
  new Map(domains.map((domain) => trimResult.parse(domain)).map((domain) => [domain.name, domain]));

describe('eight named guests, one hung, one with a garbage agent, one off', () => {
  const timeoutSeconds = 10;
  let before: number[];
  let run: CliResult;
  let results: Map<string, TrimResult>;
  beforeAll(async () => {
    await Promise.all(
      guests.map((guest) =>
        guest.runChecked('dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=24 2>/dev/null; sync; rm /mnt/vda/junk; sync'),
      ),
    );
    before = await Promise.all(guests.map(allocated));
    const limits = ['--parallel', '8', '--per-backend', '8', '--timeout', `${timeoutSeconds}s`];
    const { result, envelope } = await cli.json('trim', ...named, ...limits);
    run = result;
    results = byName(envelope.domains);
  });

  it('five are trimmed, and what is claimed is what the host got back', async () => {
    for (const [index, guest] of guests.entries()) {
      const result = results.get(guest.name);
      expect(result).toMatchObject({ status: 'ok', code: null });
      const gained = (before[index] ?? 0) - (await allocated(guest));
      expect(gained).toBeGreaterThan(20 * mebibyte);
      expect(Math.abs((result?.disks[0]?.reclaimedBytes ?? 0) - gained)).toBeLessThanOrEqual(64 * 1024);
    }
  });

  it('three failed, with their reasons; exit 64', () => {
    expect(results.get('hung')).toMatchObject({ status: 'failed', code: 'agent-silent', guestStillRunning: true });
    expect(results.get('garbage')).toMatchObject({ status: 'failed', code: 'agent-protocol' });
    expect(results.get('off')).toMatchObject({ status: 'skipped', code: 'off' });
    for (const name of ['hung', 'garbage', 'off']) expect(results.get(name)?.reason).toMatch(/\w+ \w+/);
    expect(run.exitCode).toBe(64);
    expect(results.size).toBe(8);
  });

  it('the hung one costs its own deadline, and nobody else’s time', () => {
    expect(results.get('hung')?.wallMs).toBeLessThan((timeoutSeconds + 5) * 1000);
    for (const name of healthy) expect(results.get(name)?.wallMs).toBeLessThan(timeoutSeconds * 1000);
    expect(run.durationMs).toBeLessThan((results.get('hung')?.wallMs ?? 0) + 4000);
  });

  it('list knows the last trim of each, and probes beside a hung guest', async () => {
    const listed = async (...args: string[]): Promise<{ domains: Map<string, ListedResult>; ms: number }> => {
      const { result, envelope } = await cli.json('list', ...args);
      expect(result.exitCode).toBe(0);
      const domains = envelope.domains.map((domain) => listedResult.parse(domain));
      return { domains: new Map(domains.map((domain) => [domain.name, domain])), ms: result.durationMs };
    };
    const { domains } = await listed();
    for (const [index, name] of healthy.entries()) {
      expect(domains.get(name)).toMatchObject({
        lastTrim: { status: 'ok', reclaimedBytes: results.get(name)?.disks[0]?.reclaimedBytes },
        id: expect.any(Number) as unknown,
      });
      expect(index).toBeLessThan(5);
    }
    expect(domains.get('hung')).toMatchObject({ lastTrim: { status: 'failed' } });
    expect(domains.get('off')).toMatchObject({ state: 'shut off', id: null, lastTrim: null });

    const probed = await listed('--probe');
    expect(probed.domains.get('one')).toMatchObject({
      code: null,
      agent: {
        channel: 'connected',
        answering: true,
        kind: defaultAgent('one').kind,
        version: expect.stringMatching(/^\d+\.\d/) as unknown,
      },
      frozen: { state: 'thawed' },
    });
    expect(probed.domains.get('hung')).toMatchObject({
      status: 'ok',
      code: 'agent-silent',
      agent: { answering: false },
      frozen: { state: 'unknown' },
    });
    expect(probed.ms).toBeLessThan(20_000);
    // Known now without asking.
    expect((await listed()).domains.get('one')).toMatchObject({
      agent: { answering: null, kind: defaultAgent('one').kind, checkedAt: expect.stringMatching(/^20\d\d-/) as unknown },
    });
  });
});

describe('limits, seen by the guests', () => {
  /** How many guest-fstrim were under way at once, by the agents' own record. */
  async function mostAtOnce(...limits: string[]): Promise<number> {
    const since = performance.now();
    const { envelope } = await cli.json('trim', ...slow, ...limits);
    for (const result of byName(envelope.domains).values()) expect(result).toMatchObject({ status: 'ok' });
    const times = agents.flatMap((agent) =>
      agent.received.filter((one) => one.command === 'guest-fstrim' && one.atMs > since).map((one) => one.atMs),
    );
    expect(times).toHaveLength(slow.length);
    return Math.max(...times.map((at) => times.filter((other) => other <= at && at < other + slowMs).length));
  }

  it('two on one backend when that is the limit, though more may run in all', async () => {
    expect(await mostAtOnce('--parallel', '8', '--per-backend', '2')).toBe(2);
  });

  it('one in all when that is the limit', async () => {
    expect(await mostAtOnce('--parallel', '1', '--per-backend', '8')).toBe(1);
  });

  it('all three when nothing limits them', async () => {
    expect(await mostAtOnce('--parallel', '8', '--per-backend', '8')).toBe(3);
  });
});

describe('Ctrl-C during a long trim', () => {
  it('names the guests that trim on, says so in JSON, keeps what was done, and ends at once with 130', async () => {
    const since = performance.now();
    const running = cli.start('--json', 'trim', 'one', 'slow-1', 'slow-2', '--per-backend', '8');
    const begun = (agent: ScriptedAgent): boolean => agent.received.some((one) => one.command === 'guest-fstrim' && one.atMs > since);
    const involved = agents.filter((agent) => agent.count('guest-fstrim') > 0);
    while (involved.filter(begun).length < 2) await sleep(20);
    const pressedAt = performance.now();
    running.kill('SIGINT');
    const { exitCode, stdout, stderr } = await running;
    expect(performance.now() - pressedAt).toBeLessThan(1500);
    expect(exitCode).toBe(130);
    expect(stderr).toMatch(/interrupted by SIGINT/);
    for (const name of ['slow-1', 'slow-2']) expect(stderr).toMatch(new RegExp(`guest-fstrim was sent and goes on.*domain=${name}`));
    expect(JSON.parse(stdout)).toMatchObject({ command: 'trim', exitStatus: 130 });
    const history = await readFile(path.join(cli.stateDirectory, 'history.jsonl'), 'utf8');
    expect(history.trim().split('\n').length).toBeGreaterThan(8);
    await sleep(slowMs); // the guests' agents are free again
  });
});
