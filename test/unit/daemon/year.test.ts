import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Engine } from '../../../host/daemon/engine.ts';
import { ServiceMemory } from '../../../host/daemon/memory.ts';
import type { EngineEvent, RunReason, Target } from '../../../host/daemon/target.ts';
import { Timetable, type ScheduleSettings } from '../../../host/schedule/timetable.ts';
import { TrimQueue } from '../../../host/trim/queue.ts';
import { makeUuid } from '../schedule/make-uuid.ts';
import { SimulatedClock } from './simulation.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const timeZone = 'Europe/Berlin';
const settings: ScheduleSettings = { schedule: '0 23 * * 3,7', timeZone, windowMs: hour, maintenance: null };
const limits = { total: 1000, perHypervisor: 6, perBackend: 2 };
const at = (text: string): number => Date.parse(text);

const collectGarbage = ((): (() => void) => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
})();
const heap = (): number => {
  collectGarbage();
  return process.memoryUsage().heapUsed;
};

const localDay = ((): ((time: number) => string) => {
  const format = new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short' });
  return (time) => format.format(time);
})();

interface Run {
  readonly index: number;
  readonly due: number;
  readonly beganAt: number;
  readonly reason: RunReason;
}

/** A thousand domains on four hypervisors and ten backends, with an engine that can be switched off and on. */
class Fleet {
  readonly clock: SimulatedClock;
  readonly memory = new ServiceMemory(null);
  readonly runs: Run[] = [];
  readonly events: EngineEvent[] = [];
  readonly targets: Target[];
  readonly most = { hypervisor: 0, backend: 0, domain: 0 };
  readonly #now = new Map<string, number>();
  readonly #indexes = new Map<string, number>();
  #present: Target[];
  #engine: Engine | null = null;

  constructor(count: number, start: number) {
    this.clock = new SimulatedClock(start);
    this.targets = Array.from({ length: count }, (_, index) => {
      const uuid = makeUuid(index);
      this.#indexes.set(uuid, index);
      return {
        key: uuid,
        uuid,
        name: `d${index}`,
        hypervisor: `h${index % 4}`,
        timetable: new Timetable(uuid, settings),
        excluded: null,
        catchUp: true,
        backends: [`s${index % 10}`],
      };
    });
    this.#present = this.targets;
  }

  switchOn(): void {
    this.#engine = new Engine({
      clock: this.clock,
      queue: new TrimQueue(limits),
      memory: this.memory,
      spreadMissed: true,
      obstacle: () => null,
      prepare: async (target) => target,
      trim: (target, { due, reason }) => this.#trim(target, due, reason),
      tell: (event) => {
        if (event.type !== 'started' && event.type !== 'waiting') this.events.push(event);
      },
      fail: (error) => {
        throw error;
      },
    });
    this.#engine.update(this.#present);
  }

  async switchOff(until: number): Promise<void> {
    this.#engine?.stop();
    await this.clock.runUntil(until);
    this.#engine = null;
  }

  show(present: Target[]): void {
    this.#present = present;
    this.#engine?.update(present);
  }

  get timers(): number {
    return this.clock.pending;
  }

  async #trim(target: Target, due: number, reason: RunReason): Promise<{ again: null }> {
    const index = this.#indexes.get(target.uuid) ?? -1;
    this.runs.push({ index, due, reason, beganAt: this.clock.now() });
    const held = [
      ['hypervisor', target.hypervisor],
      ['backend', target.backends[0] ?? ''],
      ['domain', target.uuid],
    ] as const;
    for (const [kind, name] of held) {
      const count = (this.#now.get(name) ?? 0) + 1;
      this.#now.set(name, count);
      this.most[kind] = Math.max(this.most[kind], count);
    }
    await this.clock.sleep(10_000 + ((index * 7919) % 40) * 1000); // 10 to 49 seconds
    for (const [, name] of held) this.#now.set(name, (this.#now.get(name) ?? 0) - 1);
    return { again: null };
  }
}

/** Wednesdays and Sundays, local, of a span. */
function scheduledDays(from: number, to: number): string[] {
  const days: string[] = [];
  for (let time = from; time < to; time += day) {
    const weekday = new Intl.DateTimeFormat('en', { timeZone, weekday: 'short' }).format(time);
    if (weekday === 'Wed' || weekday === 'Sun') days.push(localDay(time));
  }
  return days;
}

describe('a year of a thousand domains', () => {
  const count = 1000;
  const start = at('2027-01-01T11:00:00Z');
  const end = at('2028-01-01T11:00:00Z');

  it('every domain on each of its days exactly once, evenly spread, within the limits, through both changes of the clock', async () => {
    const fleet = new Fleet(count, start);
    fleet.switchOn();
    await fleet.clock.runUntil(start + 60 * day);
    const early = heap() - fleet.runs.length * 100;
    await fleet.clock.runUntil(end);
    const late = heap() - fleet.runs.length * 100;

    const days = scheduledDays(start, end);
    expect(days).toHaveLength(104);
    expect(days).toEqual(expect.arrayContaining(['2027-03-28', '2027-10-31']));
    const perDomainAndDay = new Map<string, number>();
    for (const run of fleet.runs) {
      const key = `${run.index} ${localDay(run.due)}`;
      perDomainAndDay.set(key, (perDomainAndDay.get(key) ?? 0) + 1);
    }
    expect(perDomainAndDay.size).toBe(count * days.length);
    expect([...perDomainAndDay.values()].every((times) => times === 1)).toBe(true);
    expect(new Set(fleet.runs.map((run) => run.reason))).toEqual(new Set(['schedule']));
    expect(fleet.events).toEqual([]);

    // The spread over the window: 60 minutes, 59 degrees of freedom, one in a thousand is beyond 98.3.
    const minutes = Array.from({ length: 60 }, () => 0);
    for (const { index } of fleet.runs.slice(0, count)) {
      const begins = Math.floor((fleet.targets[index]?.timetable?.splayMs ?? 0) / minute);
      minutes[begins] = (minutes[begins] ?? 0) + 1;
    }
    expect(minutes.reduce((sum, n) => sum + (n - count / 60) ** 2 / (count / 60), 0)).toBeLessThan(98.3);
    // Nobody waits long for a turn, and nobody begins early.
    const waits = fleet.runs.map((run) => run.beganAt - run.due);
    expect(Math.min(...waits.slice(0, 10_000))).toBe(0);
    expect(waits.filter((wait) => wait < 0)).toEqual([]);
    expect(waits.reduce((longest, wait) => Math.max(longest, wait), 0)).toBeLessThan(15 * minute);

    expect(fleet.most).toEqual({ hypervisor: 6, backend: 2, domain: 1 });
    expect(late - early).toBeLessThan(10 * 1024 * 1024); // the runs themselves are recorded here, 100 bytes each
    expect(fleet.timers).toBeLessThanOrEqual(1);
    expect(fleet.memory.size).toBe(count);
  }, 60_000);

  it('a downtime is caught up once for each domain, spread over a window, and later days are as always', async () => {
    const fleet = new Fleet(count, start);
    fleet.switchOn();
    // Off from the middle of a Wednesday's window (3 February) for nine days: half of the Wednesday, a Sunday, a Wednesday.
    const off = at('2027-02-03T22:30:00Z');
    const on = at('2027-02-12T15:00:00Z');
    await fleet.clock.runUntil(off);
    await fleet.switchOff(off + 2 * minute);
    const before = fleet.runs.length;
    fleet.clock.leap(on);
    fleet.switchOn();
    await fleet.clock.runUntil(on + 6 * hour);

    const caught = fleet.runs.slice(before);
    expect(caught).toHaveLength(count);
    expect(new Set(caught.map((run) => run.index)).size).toBe(count);
    expect(new Set(caught.map((run) => run.reason))).toEqual(new Set(['catch-up']));
    const firstHalf = caught.filter((run) => run.beganAt < on + hour / 2).length;
    expect(firstHalf).toBeGreaterThan(count * 0.4);
    expect(firstHalf).toBeLessThan(count * 0.6);
    expect(fleet.most).toEqual({ hypervisor: 6, backend: 2, domain: 1 });

    const resumed = fleet.runs.length;
    await fleet.clock.runUntil(at('2027-02-15T12:00:00Z'));
    expect(fleet.runs.slice(resumed).map((run) => localDay(run.due))).toEqual(Array.from({ length: count }, () => '2027-02-14'));
  }, 30_000);

  it('a host that comes back shortly before the next time does it once, not twice', async () => {
    const fleet = new Fleet(50, at('2027-01-05T11:00:00Z'));
    fleet.switchOn();
    await fleet.switchOff(at('2027-01-05T12:00:00Z'));
    fleet.clock.leap(at('2027-01-10T21:59:00Z')); // Wednesday was missed, it is Sunday 22:59
    fleet.switchOn();
    await fleet.clock.runUntil(at('2027-01-11T12:00:00Z'));
    expect(fleet.runs).toHaveLength(50);
  });

  it('a machine that slept through its window catches up, without a restart', async () => {
    const fleet = new Fleet(50, at('2027-01-06T11:00:00Z'));
    fleet.switchOn();
    await fleet.clock.runUntil(at('2027-01-06T12:00:00Z'));
    fleet.clock.leap(at('2027-01-07T06:00:00Z'));
    await fleet.clock.runUntil(at('2027-01-07T12:00:00Z'));
    expect(fleet.runs).toHaveLength(50);
    expect(new Set(fleet.runs.map((run) => run.reason))).toEqual(new Set(['catch-up']));
    expect(Math.max(...fleet.runs.map((run) => run.beganAt))).toBeGreaterThan(at('2027-01-07T06:30:00Z'));
  });

  it('domains come and go: a new one has missed nothing, one that is away is not trimmed, one that returns goes on', async () => {
    const fleet = new Fleet(30, start);
    const [all, some] = [fleet.targets, fleet.targets.slice(0, 20)];
    fleet.show(some);
    fleet.switchOn();
    await fleet.clock.runUntil(at('2027-01-04T11:00:00Z')); // one Sunday
    expect(fleet.runs).toHaveLength(20);
    fleet.show(all);
    await fleet.clock.runUntil(at('2027-01-05T11:00:00Z'));
    expect(fleet.runs).toHaveLength(20);
    await fleet.clock.runUntil(at('2027-01-07T11:00:00Z')); // a Wednesday, with all
    expect(fleet.runs).toHaveLength(50);
    fleet.show(all.slice(10));
    await fleet.clock.runUntil(at('2027-01-11T11:00:00Z')); // a Sunday, without ten
    expect(fleet.runs).toHaveLength(70);
  });
});
