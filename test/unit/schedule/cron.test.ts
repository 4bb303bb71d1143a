import { describe, expect, it } from 'vitest';
import { CronTimes, isCronExpression, isTimeZone } from '../../../host/schedule/cron.ts';

function list(expression: string, timeZone: string, after: string, count: number): string[] {
  const times = new CronTimes(expression, timeZone);
  const found: string[] = [];
  for (let at = Date.parse(after); found.length < count;) {
    at = times.next(at);
    found.push(new Date(at).toISOString().slice(0, 16));
  }
  return found;
}

describe('cron expressions', () => {
  it.each(['0 23 * * 3,7', '*/15 * * * *', '0 2 1 jan *', '0 0 * * sun'])('%s is one', (text) => expect(isCronExpression(text)).toBe(true));
  it.each(['', '0 23 * *', '0 0 23 * * 3', '61 * * * *', '@daily', 'a b c d e', '0 25 * * *'])('%s is none', (text) =>
    expect(isCronExpression(text)).toBe(false),
  );

  it('the notes: Wednesday and Sunday at 23, local time', () => {
    expect(list('0 23 * * 3,7', 'Europe/Berlin', '2026-11-22T12:00:00Z', 3)).toEqual([
      '2026-11-22T22:00',
      '2026-11-25T22:00',
      '2026-11-29T22:00',
    ]);
  });

  it('both day fields restricted: either matches, as cron(8) has it', () => {
    expect(list('0 2 1 * 3', 'UTC', '2027-10-29T12:00:00Z', 3)).toEqual(['2027-11-01T02:00', '2027-11-03T02:00', '2027-11-10T02:00']);
  });

  it('a date that never comes is Infinity', () => {
    expect(new CronTimes('0 0 30 2 *', 'UTC').next(0)).toBe(Infinity);
  });

  it('an unknown zone is refused', () => {
    expect(isTimeZone('Mars/Olympus')).toBe(false);
    expect(() => new CronTimes('0 0 * * *', 'Mars/Olympus')).toThrow(/Mars\/Olympus/);
  });
});

describe('summer time neither skips nor doubles', () => {
  it('an hour that is skipped: once, when there is time again', () => {
    expect(list('30 2 * * *', 'Europe/Berlin', '2027-03-27T12:00:00Z', 2)).toEqual(['2027-03-28T01:00', '2027-03-29T00:30']);
  });

  it('an hour that comes twice: once', () => {
    expect(list('30 2 * * *', 'Europe/Berlin', '2027-10-30T12:00:00Z', 2)).toEqual(['2027-10-31T00:30', '2027-11-01T01:30']);
  });

  it('other zones: New York, Lord Howe (half an hour), Sao Paulo (none any more)', () => {
    expect(list('30 2 * * 0', 'America/New_York', '2027-03-13T12:00:00Z', 2)).toEqual(['2027-03-14T07:00', '2027-03-21T06:30']);
    expect(list('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00:00Z', 2)).toEqual(['2026-10-03T15:30', '2026-10-04T15:15']);
    expect(list('0 0 * * *', 'America/Sao_Paulo', '2026-11-01T00:00:00Z', 2)).toEqual(['2026-11-01T03:00', '2026-11-02T03:00']);
  });
});

it('remembered answers are the true ones, whatever the order of the questions', () => {
  const times = new CronTimes('7 */5 * * *', 'Europe/Berlin');
  const start = Date.parse('2027-03-27T00:00:00Z');
  let seed = 1;
  for (let round = 0; round < 500; round += 1) {
    seed = (seed * 48_271) % 2_147_483_647;
    const at = start + (seed % (3 * 86_400_000));
    expect(times.next(at)).toBe(new CronTimes('7 */5 * * *', 'Europe/Berlin').next(at));
  }
});
