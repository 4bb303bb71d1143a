import { Cron } from 'croner';
import { AppError } from '../../shared/errors.ts';

/** Whether the text is a cron expression of five fields: minute, hour, day of month, month, day of week (crontab(5)). */
export function isCronExpression(text: string): boolean {
  try {
    return new Cron(text, { mode: '5-part', paused: true }).getPattern() === text;
  } catch {
    return false; // croner has no way to ask but to try
  }
}

/** Whether the runtime knows the time zone (IANA name, such as Europe/Berlin). */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false; // RangeError: the same
  }
}

/** The host's own time zone. */
export function localTimeZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** `next(t)` is the same for every t between two occurrences: a thousand domains of one schedule ask for few different ones. */
interface Answered {
  from: number;
  readonly next: number;
}

const rememberedAnswers = 16;

/**
 * The occurrences of a cron expression in a time zone. As cron(8) does it: a time that summer time skips comes once, as soon as
 * there is time again; one that it repeats comes once, the first time. If both day fields are restricted, either matches.
 */
export class CronTimes {
  readonly #cron: Cron;
  #answered: Answered[] = [];

  /** @throws AppError `config` for what is no cron expression or no time zone. */
  constructor(expression: string, timeZone: string) {
    if (!isTimeZone(timeZone))
      throw new AppError('config', `time zone '${timeZone}': not known here; expected a name such as Europe/Berlin`);
    try {
      this.#cron = new Cron(expression, { mode: '5-part', paused: true, timezone: timeZone });
    } catch (cause) {
      throw new AppError('config', `schedule '${expression}': is no cron expression of five fields`, { cause });
    }
  }

  /** The first occurrence after (never at) a time; Infinity where there is none, as on the 30th of February. Milliseconds since 1970. */
  next(after: number): number {
    const known = this.#answered.find(({ from, next }) => from <= after && after < next);
    if (known !== undefined) return known.next;
    const next = this.#cron.nextRun(new Date(after))?.getTime() ?? Infinity;
    const same = this.#answered.find((answer) => answer.next === next);
    if (same === undefined) this.#answered = [{ from: after, next }, ...this.#answered].slice(0, rememberedAnswers);
    else same.from = Math.min(same.from, after);
    return next;
  }
}

const shared = new Map<string, CronTimes>();
const maxShared = 500;

/** The same expression in the same zone is one object for all domains. @throws AppError `config`. */
export function cronTimes(expression: string, timeZone: string): CronTimes {
  const key = `${timeZone} ${expression}`;
  let times = shared.get(key);
  if (times === undefined) {
    if (shared.size >= maxShared) shared.clear();
    shared.set(key, (times = new CronTimes(expression, timeZone)));
  }
  return times;
}
