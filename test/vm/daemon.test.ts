import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { healthyAgent, slowAgent, combine } from '../rig/agent-scripts.ts';
import { LoopBackend } from '../rig/backends.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { answer, type ScriptedAgent } from '../rig/scripted-agent.ts';
import { processesOf, VirshWatch } from '../rig/virsh-watch.ts';

const gibibyte = 1024 ** 3;
const mebibyte = 1024 ** 2;
const slowMs = 2000;

interface Member {
  readonly guest: Guest;
  readonly agent: ScriptedAgent | null;
  readonly backend: number;
  readonly rig: Rig;
}

const backends: LoopBackend[] = [];
const rigs: Rig[] = [];
const members: Member[] = [];
let cli: Cli;
let config: string;
/** The scripted agents hang on their next trim. */
const hanging = new Set<string>();

/** This one mounts with `discard`: it needs no trim, and the daemon says so. It reads that in the guest, which only qemu-ga lets it. */
const trimsItself = 'real-11';

async function addMember(rig: Rig, backend: number, name: string, scripted: boolean): Promise<Member> {
  const uuid = randomUUID();
  await backends[backend]?.hold(rig.hypervisor, uuid);
  const disks = [{ sizeBytes: gibibyte / 2, mountOptions: name === trimsItself ? 'rw,discard' : 'rw' }];
  const agent = name === trimsItself ? ({ kind: 'qemu-ga' } as const) : undefined;
  if (!scripted) return { guest: await (await rig.define({ name, uuid, disks, agent })).boot(240_000), agent: null, backend, rig };
  const slow = slowAgent(slowMs);
  const script = combine(healthyAgent(), { 'guest-fstrim': (args) => (hanging.has(name) ? answer.hang() : slow['guest-fstrim']?.(args)) });
  return { ...(await rig.bootScripted({ name, uuid, disks }, script)), backend, rig };
}

beforeAll(async () => {
  config = await mkdtemp(path.join(tmpdir(), 'virt-trim-config-'));
  cli = await Cli.create('', { VIRT_TRIM_CONFIG_DIR: config, VIRT_TRIM_LOG: 'json' });
  for (let count = 0; count < 2; count += 1) backends.push(await LoopBackend.create(4 * gibibyte));
  for (let count = 0; count < 2; count += 1) rigs.push(await startRig());
  for (const [h, rig] of rigs.entries()) {
    for (const backend of [0, 1]) {
      const both = [addMember(rig, backend, `real-${h}${backend}`, false), addMember(rig, backend, `slow-${h}${backend}`, true)];
      members.push(...(await Promise.all(both)));
    }
  }
}, 900_000);
afterAll(async () => {
  for (const rig of rigs) await rig.dispose();
  for (const backend of backends) await backend[Symbol.asyncDispose]();
  await cli[Symbol.asyncDispose]();
  await rm(config, { recursive: true, force: true });
});

/** The configuration of the fleet; every domain was last served hours ago, so that all are due at once. */
async function makeAllDue(limits = 'per-backend: 2'): Promise<void> {
  await writeFile(
    path.join(config, 'config.yaml'),
    `hosts: [${rigs.map((rig) => `'${rig.uri}'`).join(', ')}]
defaults: { schedule: '0 * * * *', time-zone: UTC, window: 0 }
limits: { ${limits}, io-pressure: 100 }
domains: [{ match: 'slow-*', timeout: 8s }]
`,
  );
  const record = { covered: Date.now() - 5 * 3_600_000, plan: '0 * * * *|UTC|0|', seen: Date.now(), told: [] };
  const domains = Object.fromEntries(members.map(({ guest }) => [guest.uuid, record]));
  await writeFile(path.join(cli.stateDirectory, 'daemon.json'), JSON.stringify({ v: 1, domains }));
}

interface LogLine {
  readonly event?: string;
  readonly domain?: string;
  readonly status?: string;
  readonly seconds?: number;
  readonly reclaimedBytes?: number | null;
  readonly msg: string;
  readonly time: number;
  readonly code?: string | null;
}

/** A daemon at work, and what it says. */
class Running {
  readonly child: ReturnType<Cli['start']>;
  readonly lines: LogLine[] = [];
  readonly startedAt = performance.now();

  constructor(...args: string[]) {
    this.child = cli.start('daemon', ...args);
    let rest = '';
    this.child.stderr.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{')) this.lines.push(JSON.parse(line) as LogLine);
    });
  }

  trims(status = 'ok'): string[] {
    return this.lines.filter((line) => line.event === 'trim' && line.status === status).map((line) => line.domain ?? '');
  }

  async until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const end = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() > end) throw new Error(`not in ${timeoutMs} ms:\n${this.lines.map((line) => JSON.stringify(line)).join('\n')}`);
      await sleep(50);
    }
  }
}

async function dirty(guest: Guest): Promise<void> {
  await guest.runChecked('dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=48 2>/dev/null; sync; rm /mnt/vda/junk; sync', 120_000);
}

async function allocated(guest: Guest): Promise<number> {
  return (await stat(guest.disk('vda').file ?? '')).blocks * 512;
}

/** The most trims at once on a backend, as its guests' own agents saw them. */
function overlap(agents: readonly ScriptedAgent[], sinceMs: number): number {
  const begun = agents.flatMap((agent) =>
    agent.received.filter((one) => one.command === 'guest-fstrim' && one.atMs >= sinceMs).map((one) => one.atMs),
  );
  return Math.max(0, ...begun.map((at) => begun.filter((other) => other <= at && at < other + slowMs).length));
}

describe('the daemon on two hypervisors with two storage backends', () => {
  beforeEach(() => hanging.clear());

  it('all are trimmed, and no backend ever carries more than its limit, seen from outside', async () => {
    const told = members.map(({ agent }) => agent?.count('guest-fstrim') ?? 0);
    const real = members.filter(({ agent, guest }) => agent === null && guest.name !== trimsItself);
    await Promise.all(real.map(({ guest }) => dirty(guest)));
    const before = await Promise.all(real.map(({ guest }) => allocated(guest)));
    await makeAllDue();
    const since = performance.now();
    const backendOf = new Map(members.map(({ guest, backend }) => [guest.uuid, `backend ${backend}`]));
    const watch = new VirshWatch((uuid) => backendOf.get(uuid));
    const daemon = new Running('--once');
    const { exitCode } = await daemon.child;
    const wallMs = performance.now() - since;
    await watch.stop();

    expect(exitCode).toBe(0);
    // The scripted agents' disks have nothing to give back, which is no failure.
    expect(daemon.trims().sort()).toEqual(members.map(({ guest }) => guest.name).sort());
    for (const [index, { agent }] of members.entries())
      if (agent !== null) expect(agent.count('guest-fstrim') - (told[index] ?? 0)).toBe(1);
    const after = await Promise.all(real.map(({ guest }) => allocated(guest)));
    for (const [index, bytes] of before.entries()) expect(bytes - (after[index] ?? 0)).toBeGreaterThan(40 * mebibyte);

    const hints = daemon.lines.filter((line) => line.event === 'self-trim');
    expect(hints.map((line) => [line.domain, line.msg])).toEqual([[trimsItself, expect.stringMatching(/mounts \/mnt\/vda with discard/)]]);

    for (const backend of [0, 1]) {
      const agents = members.flatMap((member) => (member.backend === backend && member.agent !== null ? [member.agent] : []));
      expect(overlap(agents, since)).toBeLessThanOrEqual(2);
      expect(watch.most.get(`backend ${backend}`)).toBeLessThanOrEqual(2);
    }
    expect(Math.max(...watch.most.values())).toBeGreaterThanOrEqual(2); // and the limit is made use of
    expect(wallMs).toBeLessThan(60_000);
    const waits = daemon.lines.filter((line) => line.event === 'waiting');
    expect(waits.length).toBeGreaterThan(0);
    for (const line of waits) expect(line.msg).toMatch(/^waits for storage backend .+:dev:\d+ \(held by /);
  });

  it('one guest hangs and one hypervisor stops: the rest are on time, and what was missed is done when it is back', async () => {
    hanging.add('slow-00');
    await makeAllDue('per-backend: 2');
    const daemon = new Running();
    const [, second] = rigs;
    await daemon.until(() => daemon.lines.some((line) => line.event === 'start'), 30_000);
    await second?.hypervisor.pauseDaemon(); // it accepts connections and answers nobody
    try {
      const others = ['real-00', 'real-01', 'slow-01'];
      await daemon.until(() => others.every((name) => daemon.trims().includes(name)), 90_000);
      expect(performance.now() - daemon.startedAt).toBeLessThan(60_000); // not the half hour that a trim may take
      await daemon.until(() => daemon.lines.some((line) => line.code === 'connect-timeout'), 90_000);
    } finally {
      await second?.hypervisor.resumeDaemon();
    }
    daemon.child.kill('SIGHUP'); // it looks at once; by itself it would within a minute
    await daemon.until(() => ['real-10', 'real-11', 'slow-10', 'slow-11'].every((name) => daemon.trims().includes(name)), 130_000);
    await daemon.until(() => daemon.lines.some((line) => line.domain === 'slow-00' && line.code === 'agent-silent'), 60_000);
    daemon.child.kill('SIGTERM');
    const { exitCode } = await daemon.child;
    expect(exitCode).toBe(0);
    expect(daemon.lines.at(-1)?.msg).toBe('virt-trim daemon has ended');
    const history = (await readFile(path.join(cli.stateDirectory, 'history.jsonl'), 'utf8')).trim().split('\n');
    expect(history.length).toBeGreaterThan(8);
  });

  it('SIGTERM waits for what runs; a guest that hangs is named, and no process is left', async () => {
    hanging.add('slow-01');
    const agentOf = (name: string): ScriptedAgent | null | undefined => members.find(({ guest }) => guest.name === name)?.agent;
    const before = { hung: agentOf('slow-01')?.count('guest-fstrim') ?? 0, slow: agentOf('slow-10')?.count('guest-fstrim') ?? 0 };
    await makeAllDue('per-backend: 4');
    const daemon = new Running('--stop-timeout', '6s');
    const isTold = (name: string, count: number): boolean => (agentOf(name)?.count('guest-fstrim') ?? 0) > count;
    await daemon.until(() => isTold('slow-01', before.hung) && isTold('slow-10', before.slow), 90_000);
    daemon.child.kill('SIGTERM');
    const { exitCode } = await daemon.child;
    expect(exitCode).toBe(0);
    expect(daemon.trims()).toContain('slow-10');
    const left = daemon.lines.filter((line) => line.event === 'left');
    expect(left.map((line) => line.domain)).toEqual(['slow-01']);
    expect(left[0]?.msg).toMatch(/goes on inside the guest/);
    expect(await processesOf(cli.stateDirectory)).toEqual([]);
  });
});
