import { AppError } from '../../shared/errors.ts';
import { cronTimes, type CronTimes } from './cron.ts';

const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const minutesOfDay = 24 * 60;

interface Entry {
  /** Days on which it opens, 0 is Sunday. */
  readonly days: readonly number[];
  /** Minutes since midnight, local time; an end at or before the start is on the next day. */
  readonly start: number;
  readonly end: number;
}

/** One window's openings and closings as two cron expressions: so summer time is cron's business here too. */
interface Gate {
  readonly opens: CronTimes;
  readonly closes: CronTimes;
}

function readDays(text: string | undefined): number[] | null {
  if (text === undefined) return [0, 1, 2, 3, 4, 5, 6];
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [first = -1, last = first] = part
      .split('-')
      .map((name) => dayNames.findIndex((day) => name.slice(0, 3) === day && name.length >= 3));
    if (first < 0 || last < 0) return null;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return [...days].sort((a, b) => a - b);
}

function readMinutes(hours: string | undefined, minutes: string | undefined): number | null {
  const total = Number(hours) * 60 + Number(minutes);
  return Number(minutes) < 60 && total <= minutesOfDay ? total : null;
}

/** Reads `22:00-05:00`, `Sat,Sun 00:00-24:00`, `Mon-Fri 22:00-05:00; Sat 12:00-18:00`. @returns null for what is none. */
export function parseMaintenance(text: string): Entry[] | null {
  const entries: Entry[] = [];
  for (const part of text.split(';')) {
    const match = /^\s*(?:([A-Za-z][A-Za-z,-]*)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)\s*$/.exec(part);
    if (match === null) return null;
    const days = readDays(match[1]);
    const start = readMinutes(match[2], match[3]);
    const end = readMinutes(match[4], match[5]);
    if (days === null || start === null || end === null || start === minutesOfDay || start === end) return null;
    entries.push({ days, start, end });
  }
  return entries;
}

/** The times in which trims may begin. One that has begun is not cut off when its window closes: a guest cannot be told to stop. */
export class Maintenance {
  readonly #gates: readonly Gate[];

  /** @throws AppError `config`. */
  constructor(text: string, timeZone: string) {
    const entries = parseMaintenance(text);
    if (entries === null) {
      throw new AppError(
        'config',
        `maintenance '${text}': expected times such as '22:00-05:00' or 'Mon-Fri 22:00-05:00; Sat,Sun 00:00-24:00'`,
      );
    }
    this.#gates = entries.map(({ days, start, end }) => {
      const overnight = end <= start || end === minutesOfDay;
      const closingDays = overnight ? days.map((day) => (day + 1) % 7) : days;
      const at = (minutes: number, on: readonly number[]): CronTimes =>
        cronTimes(`${minutes % 60} ${Math.floor(minutes / 60) % 24} * * ${[...on].sort((a, b) => a - b).join(',')}`, timeZone);
      return { opens: at(start, days), closes: at(end, closingDays) };
    });
  }

  /** When the windows that are open at this time will all have closed; null if none is open. */
  closesAt(time: number): number | null {
    // Openings and closings alternate: it is open where the next closing comes first. (At once: one day's end is the next one's start.)
    const open = this.#gates.filter(({ opens, closes }) => closes.next(time) <= opens.next(time));
    return open.length === 0 ? null : Math.max(...open.map(({ closes }) => closes.next(time)));
  }

  /** The time itself if a window is open then, else the next opening. */
  nextOpening(time: number): number {
    return this.closesAt(time) === null ? Math.min(...this.#gates.map(({ opens }) => opens.next(time))) : time;
  }
}
