import { describe, expect, it } from 'vitest';
import { Maintenance, parseMaintenance } from '../../../host/schedule/maintenance.ts';
import { splayOf } from '../../../host/schedule/splay.ts';
import { Timetable, type ScheduleSettings } from '../../../host/schedule/timetable.ts';
import { makeUuid } from './make-uuid.ts';

const hour = 3_600_000;
const berlin: ScheduleSettings = { schedule: '0 23 * * 3,7', timeZone: 'Europe/Berlin', windowMs: hour, maintenance: null };
const at = (text: string): number => Date.parse(text);

/** The chi-square statistic of counts against an even spread. */
function chiSquare(counts: readonly number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
}

describe('splay', () => {
  it('is the same for ever: a changed formula would move every domain', () => {
    expect(splayOf('c7a5fdbd-edaf-9455-926a-d65c16db1809', hour)).toBe(splayOf('C7A5FDBD-EDAF-9455-926A-D65C16DB1809', hour));
    expect(['c7a5fdbd-edaf-9455-926a-d65c16db1809', '00000000-0000-0000-0000-000000000001'].map((uuid) => splayOf(uuid, hour))).toEqual([
      2_449_000, 1_726_000,
    ]);
  });

  it('spreads a thousand domains evenly over sixty minutes', () => {
    const counts = Array.from({ length: 60 }, () => 0);
    for (let index = 0; index < 1000; index += 1) {
      const minute = Math.floor(splayOf(makeUuid(index), hour) / 60_000);
      counts[minute] = (counts[minute] ?? 0) + 1;
    }
    // 59 degrees of freedom: an even spread passes 98.3 once in a thousand times.
    expect(chiSquare(counts)).toBeLessThan(98.3);
    expect(Math.max(...counts)).toBeLessThan(40);
  });

  it('a window of nothing is no splay', () => expect(splayOf(makeUuid(1), 0)).toBe(0));
});

describe('timetable', () => {
  it('keeps its minute over a year, once on each of its days, through both changes of the clock', () => {
    const table = new Timetable(makeUuid(7), berlin);
    const runs = table.list(at('2027-01-01T00:00:00Z'), 104);
    const format = new Intl.DateTimeFormat('sv', { timeZone: 'Europe/Berlin', dateStyle: 'short', timeStyle: 'medium' });
    const local = runs.map((run) => format.format(run.at));
    expect(new Set(local.map((text) => text.slice(0, 10))).size).toBe(104);
    expect(new Set(local.map((text) => text.slice(11))).size).toBe(1);
    expect(local[0]).toMatch(/^2027-01-03 23:/);
  });

  it('asked in the middle of the window it gives what is still to come', () => {
    const table = new Timetable(makeUuid(7), berlin);
    const base = at('2026-11-22T22:00:00Z');
    expect(table.next(base)?.due).toBe(base + table.splayMs);
    expect(table.next(base + table.splayMs)?.due).toBe(at('2026-11-25T22:00:00Z') + table.splayMs);
  });

  it('a run outside the maintenance window begins in the next one, at its own place', () => {
    const table = new Timetable(makeUuid(7), { ...berlin, maintenance: 'Sat,Sun 01:00-05:00' });
    const run = table.next(at('2026-11-23T12:00:00Z')); // Wednesday the 25th is meant
    const opening = at('2026-11-28T00:00:00Z'); // Saturday, 1:00 in Berlin
    expect(run?.at).toBe(opening + table.splayMs);
    // Wednesday's and Sunday's runs both wait for a weekend, and are shown apart.
    expect(table.list(at('2026-11-23T12:00:00Z'), 3).map((each) => each.at - table.splayMs)).toEqual([
      opening,
      at('2026-12-05T00:00:00Z'),
      at('2026-12-12T00:00:00Z'),
    ]);
  });
});

describe('maintenance windows', () => {
  it.each(['', '22-05', '22:00-22:00', 'Foo 1:00-2:00', '25:00-26:00', '1:60-2:00', '24:00-1:00'])('%j is none', (text) => {
    expect(parseMaintenance(text)).toBeNull();
  });

  it('over midnight, by days, several, the whole day', () => {
    const window = new Maintenance('Mon-Fri 22:00-05:00; Sat 00:00-24:00', 'UTC');
    const open = (text: string): boolean => window.closesAt(at(text)) !== null;
    expect([open('2026-11-23T22:00:00Z'), open('2026-11-24T04:59:59Z'), open('2026-11-24T05:00:00Z')]).toEqual([true, true, false]);
    expect([open('2026-11-22T23:00:00Z'), open('2026-11-23T03:00:00Z')]).toEqual([false, false]); // Sunday night is not Monday's
    expect([open('2026-11-28T04:00:00Z'), open('2026-11-28T12:00:00Z'), open('2026-11-29T00:00:00Z')]).toEqual([true, true, false]);
    expect(window.nextOpening(at('2026-11-29T00:00:00Z'))).toBe(at('2026-11-30T22:00:00Z'));
  });

  it('days that adjoin are one opening', () => {
    const window = new Maintenance('00:00-24:00', 'Europe/Berlin');
    for (const text of ['2026-11-22T23:00:00Z', '2026-11-22T22:59:59Z', '2027-03-28T01:00:00Z', '2027-10-31T00:30:00Z']) {
      expect(window.closesAt(at(text))).not.toBeNull();
    }
  });
});
