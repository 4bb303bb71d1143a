import { describe, expect, it } from 'vitest';
import { Engine } from '../../../host/daemon/engine.ts';
import { ServiceMemory } from '../../../host/daemon/memory.ts';
import type { AttemptEnd, EngineEvent, Target } from '../../../host/daemon/target.ts';
import { Timetable, type ScheduleSettings } from '../../../host/schedule/timetable.ts';
import { TrimQueue } from '../../../host/trim/queue.ts';
import { AppError } from '../../../shared/errors.ts';
import { SimulatedClock } from './simulation.ts';

const minute = 60_000;
const hour = 60 * minute;
const start = Date.parse('2027-01-01T00:30:00Z');
const uuid = '00000000-0000-4000-8000-000000000001';
const hourly: ScheduleSettings = { schedule: '0 * * * *', timeZone: 'UTC', windowMs: 0, maintenance: null };

function makeTarget(name: string, settings: ScheduleSettings | null = hourly, more: Partial<Target> = {}): Target {
  const key = uuid.replace(/1$/, name.slice(-1));
  const timetable = settings === null ? null : new Timetable(key, settings);
  return {
    key,
    uuid: key,
    name,
    hypervisor: 'h',
    timetable,
    excluded: settings === null ? 'trim=no' : null,
    catchUp: true,
    backends: ['s'],
    ...more,
  };
}

const done: AttemptEnd = { again: null };

/** An engine on a simulated clock whose trims take as long, and end, as the test says. */
class Bench {
  readonly clock = new SimulatedClock(start);
  readonly events: EngineEvent[] = [];
  readonly begun: { name: string; minute: number; reason: string }[] = [];
  readonly failures: unknown[] = [];
  memory = new ServiceMemory(null);
  takes = 1000;
  end: AttemptEnd = done;
  obstacle: string | null = null;
  prepare: (target: Target) => Target | string = (target) => target;
  readonly engine: Engine;

  constructor(perBackend = 1) {
    this.engine = new Engine({
      clock: this.clock,
      queue: new TrimQueue({ total: 10, perHypervisor: 10, perBackend }),
      memory: this.memory,
      spreadMissed: true,
      obstacle: () => this.obstacle,
      prepare: async (target) => this.prepare(target),
      trim: async ({ name }, { reason }) => {
        this.begun.push({ name, reason, minute: (this.clock.now() - start) / minute });
        await this.clock.sleep(this.takes);
        return this.end;
      },
      tell: (event) => this.events.push(event),
      fail: (error) => this.failures.push(error),
    });
  }

  types(): string[] {
    return this.events.map((event) => event.type);
  }
}

describe('the engine', () => {
  it('does not double a run that is still going when the next is due, and says so', async () => {
    const bench = new Bench();
    bench.takes = 150 * minute;
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 6 * hour);
    // Due every hour from 0:30 later on; each takes two and a half.
    expect(bench.begun.map((run) => run.minute)).toEqual([30, 210]);
    expect(bench.types()).toEqual(['started', 'not-doubled', 'started', 'not-doubled']);
  });

  it('what it waits for is told, and the order is that of the due times', async () => {
    const bench = new Bench();
    bench.takes = 10 * minute;
    bench.engine.update([makeTarget('d1'), makeTarget('d2'), makeTarget('d3')]);
    await bench.clock.runUntil(start + hour);
    expect(bench.begun.map((run) => `${run.name} ${run.minute}`)).toEqual(['d1 30', 'd2 40', 'd3 50']);
    const waiting = bench.events.filter((event) => event.type === 'waiting');
    expect(waiting.map((event) => event.what)).toEqual(['storage backend s (held by d1)', 'storage backend s (held by d1)']);
  });

  it('a hypervisor that cannot be reached is tried again every minute, occupies nothing, and holds up nobody', async () => {
    const bench = new Bench();
    bench.prepare = (target) => (target.name === 'd1' && bench.clock.now() < start + 35 * minute ? 'cannot connect' : target);
    bench.engine.update([makeTarget('d1'), makeTarget('d2')]);
    await bench.clock.runUntil(start + 45 * minute);
    expect(bench.begun).toEqual([
      { name: 'd2', reason: 'schedule', minute: 30 },
      { name: 'd1', reason: 'retry', minute: 35 },
    ]);
    await bench.clock.runUntil(start + 100 * minute);
    expect(bench.begun).toHaveLength(4);
  });

  it('one that goes away while its domain waits gives the place back at once', async () => {
    const bench = new Bench();
    bench.takes = 2 * minute;
    bench.engine.update([makeTarget('d1'), makeTarget('d2')]);
    await bench.clock.runUntil(start + 31 * minute);
    bench.obstacle = 'no answer';
    await bench.clock.runUntil(start + 32.5 * minute);
    expect(bench.engine.targets('running')).toEqual([]);
    bench.obstacle = null;
    await bench.clock.runUntil(start + 40 * minute);
    expect(bench.begun.map((run) => `${run.name} ${run.reason} ${run.minute}`)).toEqual(['d1 schedule 30', 'd2 retry 33']);
  });

  it('when it is back, what was put off because of it does not wait for its minute', async () => {
    const bench = new Bench(2);
    bench.prepare = () => 'cannot connect';
    bench.engine.update([makeTarget('d1'), makeTarget('d2', hourly, { hypervisor: 'other' })]);
    await bench.clock.runUntil(start + 30.2 * minute);
    bench.prepare = (target) => target;
    bench.engine.hurry('h');
    await bench.clock.runUntil(start + 30.5 * minute);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1']);
    await bench.clock.runUntil(start + 32 * minute);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1', 'd2']);
  });

  it('one that hangs does not keep the places of its trims', async () => {
    const bench = new Bench();
    bench.takes = 25 * minute;
    bench.engine.update([makeTarget('d1', hourly, { hypervisor: 'hung' }), makeTarget('d2')]);
    await bench.clock.runUntil(start + 32 * minute);
    expect(bench.begun).toHaveLength(1);
    expect(bench.engine.giveUpPlaces('hung')).toEqual(['d1']);
    expect(bench.engine.giveUpPlaces('hung')).toEqual([]);
    await bench.clock.runUntil(start + 33 * minute);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1', 'd2']);
    expect(bench.engine.targets('running').map(({ name }) => name)).toEqual(['d1', 'd2']);
  });

  it('one that never comes back is asked once a minute, told once, and its regular times are kept', async () => {
    const bench = new Bench();
    let asked = 0;
    bench.prepare = () => {
      asked += 1;
      return 'cannot connect';
    };
    bench.engine.update([makeTarget('d1', { ...hourly, schedule: '0 0 * * *' })]);
    await bench.clock.runUntil(start + 48 * hour);
    expect(bench.begun).toEqual([]);
    expect(asked).toBeGreaterThan(1440);
    expect(asked).toBeLessThan(1480);
    expect(bench.types()).toEqual(['postponed']);
  });

  it('it is on disk as served before the guest is told to trim, and not served where that cannot be written', async () => {
    const bench = new Bench();
    const { key } = makeTarget('d1');
    let full = true;
    const seen: (number | null)[] = [];
    bench.memory.save = async () => {
      seen.push(bench.memory.covered(key));
      if (full) throw new AppError('state-directory', 'no space left');
    };
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 30.5 * minute);
    expect(bench.begun).toEqual([]);
    expect(bench.memory.covered(key)).toBe(start);
    full = false;
    await bench.clock.runUntil(start + 40 * minute);
    expect(bench.begun).toEqual([{ name: 'd1', reason: 'retry', minute: 31 }]);
    expect(seen).toEqual([start + 30 * minute, start + 31 * minute]);
  });

  it('an attempt that asks for another gets it, and no more than it asks for', async () => {
    const bench = new Bench();
    bench.end = { again: { why: 'a backup runs', afterMs: 5 * minute, attempts: 3 } };
    bench.takes = 0;
    bench.engine.update([makeTarget('d1', { ...hourly, schedule: '0 0,12 * * *' })]);
    await bench.clock.runUntil(start + 13 * hour);
    const noon = 11.5 * 60;
    expect(bench.begun.map((run) => `${run.reason} ${run.minute}`)).toEqual([
      `schedule ${noon}`,
      `retry ${noon + 5}`,
      `retry ${noon + 10}`,
    ]);
    expect(bench.types()).toContain('gave-up');
  });

  it('a domain that is excluded meanwhile is not trimmed, and owes nothing when it is back', async () => {
    const bench = new Bench();
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 20 * minute);
    bench.engine.update([makeTarget('d1', null)]);
    await bench.clock.runUntil(start + 190 * minute);
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 220 * minute);
    expect(bench.begun).toEqual([{ name: 'd1', reason: 'schedule', minute: 210 }]);
  });

  it('excluded in the last moment: its metadata are read again before it begins', async () => {
    const bench = new Bench();
    bench.prepare = () => makeTarget('d1', null);
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 5 * hour);
    expect(bench.begun).toEqual([]);
  });

  it('excluded while it waits its turn: not trimmed', async () => {
    const bench = new Bench();
    bench.takes = 10 * minute;
    bench.engine.update([makeTarget('d1'), makeTarget('d2')]);
    await bench.clock.runUntil(start + 35 * minute);
    bench.engine.update([makeTarget('d1'), makeTarget('d2', null)]);
    await bench.clock.runUntil(start + 80 * minute);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1']);
  });

  it('new settings do not make a missed run of the past', async () => {
    const bench = new Bench();
    bench.engine.update([makeTarget('d1', { ...hourly, schedule: '45 12 * * *' })]);
    await bench.clock.runUntil(start + 11 * hour);
    bench.engine.update([makeTarget('d1', { ...hourly, schedule: '0 11 * * *' })]);
    await bench.clock.runUntil(start + 23 * hour);
    expect(bench.begun).toEqual([]);
  });

  it('no catch-up where none is wanted', async () => {
    const bench = new Bench();
    bench.memory.cover(makeTarget('d1').key, start - 10 * hour, makeTarget('d1').timetable?.fingerprint ?? '');
    bench.engine.update([makeTarget('d1', hourly, { catchUp: false })]);
    await bench.clock.runUntil(start + 29 * minute);
    expect(bench.begun).toEqual([]);
    await bench.clock.runUntil(start + 31 * minute);
    expect(bench.begun).toHaveLength(1);
  });

  it('a maintenance window that closes while it waits puts it off to the next one', async () => {
    const bench = new Bench();
    bench.takes = 90 * minute;
    const nightly = { ...hourly, schedule: '0 1 * * *', maintenance: '01:00-02:00' };
    bench.engine.update([makeTarget('d1', nightly), makeTarget('d2', nightly)]);
    await bench.clock.runUntil(start + 20 * hour);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1']);
    expect(bench.events.at(-1)).toMatchObject({
      type: 'postponed',
      why: 'its maintenance window has closed',
      until: Date.parse('2027-01-02T01:00:00Z'),
    });
    await bench.clock.runUntil(start + 28 * hour);
    expect(bench.begun.map((run) => run.name)).toEqual(['d1', 'd2']); // d2 goes first now
  });

  it('stopped: who waits is sent away and owes its run still, who runs ends', async () => {
    const bench = new Bench();
    bench.takes = 10 * minute;
    bench.engine.update([makeTarget('d1'), makeTarget('d2')]);
    await bench.clock.runUntil(start + 31 * minute);
    expect(bench.engine.targets('running').map(({ name }) => name)).toEqual(['d1']);
    expect(bench.engine.targets('waiting').map(({ name }) => name)).toEqual(['d2']);
    bench.engine.stop();
    await bench.clock.runUntil(start + 32 * minute);
    expect(bench.engine.targets('waiting').map(({ name }) => name)).toEqual([]);
    expect(bench.engine.busy).toBe(true);
    await bench.clock.runUntil(start + 41 * minute);
    await bench.engine.settled();
    expect(bench.engine.busy).toBe(false);
    expect(bench.memory.covered(makeTarget('d1').key)).toBe(start + 30 * minute);
    expect(bench.memory.covered(makeTarget('d2').key)).toBe(start);
    expect(bench.clock.pending).toBe(0);
    expect(bench.failures).toEqual([]);
  });

  it('an error that nobody foresaw is told, and the domain has its next time', async () => {
    const bench = new Bench();
    let first = true;
    bench.prepare = (target) => {
      if (!first) return target;
      first = false;
      throw new Error('unforeseen');
    };
    bench.engine.update([makeTarget('d1')]);
    await bench.clock.runUntil(start + 95 * minute);
    expect(bench.failures).toEqual([new Error('unforeseen')]);
    expect(bench.begun.length).toBeGreaterThan(0);
  });
});
