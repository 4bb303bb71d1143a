import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServiceMemory } from '../../../host/daemon/memory.ts';
import { newSources, planDomain, planFleet } from '../../../host/daemon/planner.ts';
import type { Hypervisor } from '../../../host/daemon/hypervisor.ts';
import { parsePressure, PressureGate } from '../../../host/daemon/pressure.ts';
import { attemptEnd } from '../../../host/daemon/runner.ts';
import { discardMounts, explainSelfTrim } from '../../../host/daemon/self-trim.ts';
import { limitsOf, urisOf } from '../../../host/daemon/limits.ts';
import { readDaemonOptions } from '../../../host/daemon/options.ts';
import type { Domain } from '../../../host/libvirt/domains.ts';
import type { TrimCode } from '../../../host/trim/schema.ts';
import { emptyConfig } from '../../../host/policy/config.ts';
import { parseConfig } from '../../../host/policy/parse-config.ts';
import { makeUuid } from '../schedule/make-uuid.ts';
import { SimulatedClock } from './simulation.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-unit-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('memory', () => {
  it('outlives a restart', async () => {
    const file = path.join(directory, 'daemon.json');
    const first = await ServiceMemory.open(file);
    first.cover('a', 1000, 'plan');
    expect([first.tellOnce('a', 'hint'), first.tellOnce('a', 'hint'), first.tellOnce('unknown', 'hint')]).toEqual([true, false, false]);
    await first.save();
    const second = await ServiceMemory.open(file);
    expect([second.covered('a'), second.fingerprint('a'), second.wasTold('a', 'hint'), second.covered('b')]).toEqual([
      1000,
      'plan',
      true,
      null,
    ]);
  });

  it('what was changed while a write was going on is on disk when its own save resolves', async () => {
    const file = path.join(directory, 'daemon.json');
    const memory = await ServiceMemory.open(file);
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        memory.cover(`d${index}`, index, '');
        await memory.save();
        const written = JSON.parse(await readFile(file, 'utf8')) as { domains: Record<string, { covered: number }> };
        expect(written.domains[`d${index}`]?.covered).toBe(index);
      }),
    );
  });

  it.each(['', '{', '[]', '{"v":2,"domains":{}}'])('a damaged file (%j) is an empty memory', async (text) => {
    const file = path.join(directory, 'daemon.json');
    await writeFile(file, text);
    expect((await ServiceMemory.open(file)).size).toBe(0);
  });

  it('forgets what was not there for three months', () => {
    const day = 86_400_000;
    const memory = new ServiceMemory(null);
    memory.cover('gone', 0, '');
    memory.cover('here', 0, '');
    memory.see('here', 80 * day);
    memory.forgetGone(100 * day);
    expect([memory.covered('gone'), memory.covered('here')]).toEqual([null, 0]);
  });
});

describe("the host's I/O pressure", () => {
  it('is read as the kernel writes it', () => {
    expect(parsePressure('some avg10=43.21 avg60=1.00 avg300=0.00 total=1\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n')).toBe(43.21);
    expect(parsePressure('')).toBeNull();
  });

  it('stretches: one at a time, at most one a minute, and never none', async () => {
    const clock = new SimulatedClock(0);
    const file = path.join(directory, 'io');
    const gate = new PressureGate(clock, 50, (name) => name === 'here', file);
    const claim = (hypervisor = 'here') => ({ label: 'd', hypervisor, backends: [] });
    expect(gate.gate(claim(), [claim()])).toBeNull(); // nothing is known yet
    await writeFile(file, 'some avg10=80.00 avg60=0 avg300=0 total=0\n');
    await gate.read();
    expect(gate.gate(claim(), [])).toMatch(/pressure to fall \(80 % is above 50 %\)/); // the last one began just now
    expect(gate.gate(claim('elsewhere'), [claim()])).toBeNull(); // another host's pressure is not known here
    clock.leap(61_000);
    expect(gate.gate(claim(), [claim()])).toMatch(/pressure/);
    expect(gate.gate(claim(), [])).toBeNull();
    expect(gate.gate(claim(), [])).toMatch(/pressure/);
    await writeFile(file, 'some avg10=10.00 avg60=0 avg300=0 total=0\n');
    await gate.read();
    expect(gate.gate(claim(), [claim()])).toBeNull();
    await rm(file);
    await gate.read();
    expect(gate.percent).toBeNull();
  });
});

describe('which ends ask for another attempt', () => {
  const end = (status: 'ok' | 'failed' | 'skipped' | 'unverified', code: TrimCode | null) => attemptEnd({ status, code, reason: 'why' });

  it.each(['connect-failed', 'connect-timeout', 'connection-lost'] as const)('%s: until the hypervisor is back', (code) => {
    expect(end('failed', code)).toEqual({ again: { why: 'why', afterMs: 60_000, attempts: Infinity } });
  });
  it.each(['job-active', 'migrating', 'agent-lock', 'domain-lock'] as const)('%s: for an hour', (code) => {
    expect(end('skipped', code)).toEqual({ again: { why: 'why', afterMs: 600_000, attempts: 6 } });
  });
  it.each([
    ['ok', null],
    ['failed', 'agent-silent'],
    ['skipped', 'off'],
    ['skipped', 'discard-blocked'],
    ['failed', 'nothing-reclaimed'],
  ] as const)('%s %s: not before its next time', (status, code) => {
    expect(end(status, code)).toEqual({ again: null });
  });
});

describe('a guest that trims by itself', () => {
  const mounts = `/dev/vda1 / ext4 rw,relatime,discard,errors=remount-ro 0 0
/dev/vdb /srv xfs rw,nodiscard 0 0
/dev/vdc /data btrfs rw,ssd,discard=async,space_cache=v2 0 0
tmpfs /discard tmpfs rw,discard 0 0
broken
`;
  it('by mount option', () => expect(discardMounts(mounts)).toEqual(['/', '/data']));
  it('is explained, or not worth a word', () => {
    expect(explainSelfTrim({ discardMounts: [], timer: false })).toBeNull();
    expect(explainSelfTrim({ discardMounts: ['/'], timer: true })).toMatch(/fstrim\.timer is enabled.*mounts \/ with discard/);
  });
});

describe('the plan of a fleet', () => {
  const makeHypervisor = (name: string, domains: Domain[]): Hypervisor =>
    ({ name, domains, place: { isLocal: false, host: name }, down: null }) as unknown as Hypervisor;
  const makeDomain = (name: string, id: number | null, metadata: Domain['metadata'] = {}): Domain =>
    ({ name, uuid: makeUuid(Number(name.slice(1))), id, disks: [], metadata }) as unknown as Domain;

  it('a domain that is known on two hosts is planned where it runs', async () => {
    const fleet = await planFleet(
      [makeHypervisor('h1', [makeDomain('d1', null), makeDomain('d2', 1)]), makeHypervisor('h2', [makeDomain('d1', 7)])],
      newSources(emptyConfig, {}),
    );
    expect(fleet.map(({ target }) => `${target.name} ${target.hypervisor}`).sort()).toEqual(['d1 h2', 'd2 h1']);
  });

  it('two that run with one UUID are two', async () => {
    const fleet = await planFleet(
      [makeHypervisor('h1', [makeDomain('d1', 1)]), makeHypervisor('h2', [makeDomain('d1', 1)])],
      newSources(emptyConfig, {}),
    );
    expect(new Set(fleet.map(({ target }) => target.key)).size).toBe(2);
  });

  it('the default is that of the notes', async () => {
    const { target } = await planDomain(makeHypervisor('h1', []), makeDomain('d1', 1), newSources(emptyConfig, {}));
    expect(target.timetable?.settings).toMatchObject({ schedule: '0 23 * * 3,7', windowMs: 3_600_000, maintenance: null });
    expect(target.catchUp).toBe(true);
  });

  it.each([
    [{ trim: 'no' }, /trim=no/],
    [{ schedule: 'none' }, /schedule=none/],
    [{ schedule: 'sometimes' }, /metadata of d1: schedule: is no cron expression/],
    [{ colour: 'red' }, /unknown setting 'colour'/],
  ])('%j excludes it, and says why', async (policy, reason) => {
    const { target } = await planDomain(makeHypervisor('h1', []), makeDomain('d1', 1, { policy }), newSources(emptyConfig, {}));
    expect(target.timetable).toBeNull();
    expect(target.excluded).toMatch(reason);
  });

  it('its own metadata win over the configuration', async () => {
    const config = parseConfig("defaults: { schedule: '0 1 * * *', window: 10m, backend: san1 }\n", 'c.yaml');
    const domain = makeDomain('d1', 1, { policy: { schedule: '0 2 * * *', maintenance: '01:00-05:00', 'catch-up': 'no' } });
    const { target } = await planDomain(makeHypervisor('h1', []), domain, newSources(config, {}));
    expect(target.timetable?.settings).toMatchObject({ schedule: '0 2 * * *', windowMs: 600_000, maintenance: '01:00-05:00' });
    expect([target.catchUp, target.backends]).toEqual([false, ['san1']]);
  });
});

describe('settings of the daemon', () => {
  it('limits and hosts of the configuration', () => {
    const config = parseConfig(
      "hosts: ['a:///x', 'b:///y', 'a:///x']\nlimits: { per-hypervisor: 3, per-backend: 1, io-pressure: 30 }\n",
      'c.yaml',
    );
    expect(limitsOf(config)).toMatchObject({ perHypervisor: 3, perBackend: 1 });
    expect(config.limits.ioPressure?.value).toBe(30);
    expect(urisOf([], config)).toEqual(['a:///x', 'b:///y']);
    expect(urisOf(['c:///z'], config)).toEqual(['c:///z']);
    expect(urisOf([], emptyConfig)).toEqual(['']);
    expect(limitsOf(emptyConfig)).toMatchObject({ perHypervisor: 4, perBackend: 2 });
  });

  it('--stop-timeout', () => {
    expect(readDaemonOptions({})).toEqual({ once: false, stopTimeoutMs: 60_000 });
    expect(readDaemonOptions({ once: true, stopTimeout: '5m' })).toEqual({ once: true, stopTimeoutMs: 300_000 });
    for (const stopTimeout of ['x', '', '25h', '-1']) expect(() => readDaemonOptions({ stopTimeout })).toThrow(/--stop-timeout/);
  });
});
