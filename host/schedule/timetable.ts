import { cronTimes, type CronTimes } from './cron.ts';
import { Maintenance } from './maintenance.ts';
import { splayOf } from './splay.ts';

/** When a domain is to be trimmed, as its policy has it. */
export interface ScheduleSettings {
  /** Cron expression of five fields. */
  readonly schedule: string;
  /** IANA name. */
  readonly timeZone: string;
  /** The window over which domains of one schedule are spread. */
  readonly windowMs: number;
  /** Times in which a trim may begin; null: always. */
  readonly maintenance: string | null;
}

/** One run: `at` is when it begins, unless it has to wait its turn. Milliseconds since 1970. */
export interface Occurrence {
  /** By cron expression and splay; a domain that was served at this time or later needs no other run for it. */
  readonly due: number;
  /** The same, or within the next maintenance window. */
  readonly at: number;
}

/** A domain's times. Pure: the same settings and UUID give the same times everywhere. */
export class Timetable {
  readonly settings: ScheduleSettings;
  readonly splayMs: number;
  readonly #times: CronTimes;
  readonly #maintenance: Maintenance | null;

  /** @throws AppError `config`. */
  constructor(uuid: string, settings: ScheduleSettings) {
    this.settings = settings;
    this.splayMs = splayOf(uuid, settings.windowMs);
    this.#times = cronTimes(settings.schedule, settings.timeZone);
    this.#maintenance = settings.maintenance === null ? null : new Maintenance(settings.maintenance, settings.timeZone);
  }

  /** Changes when a setting does that moves the times. */
  get fingerprint(): string {
    const { schedule, timeZone, windowMs, maintenance } = this.settings;
    return [schedule, timeZone, windowMs, maintenance ?? ''].join('|');
  }

  /** The first run due after a time; null where the expression never matches again. */
  next(after: number): Occurrence | null {
    // A base after (t − splay) is a due time after t. The splay is added to the instant, so that a clock that is put back doubles nothing.
    const due = this.#times.next(after - this.splayMs) + this.splayMs;
    return Number.isFinite(due) ? { due, at: this.allowed(due) } : null;
  }

  /** The time itself, or this domain's place in the next maintenance window. */
  allowed(time: number): number {
    if (this.#maintenance === null) return time;
    const opening = this.#maintenance.nextOpening(time);
    if (opening === time || !Number.isFinite(opening)) return opening;
    const length = (this.#maintenance.closesAt(opening) ?? opening) - opening;
    const { windowMs } = this.settings;
    return opening + (windowMs === 0 ? 0 : Math.floor((this.splayMs / windowMs) * Math.min(windowMs, length)));
  }

  isOpen(time: number): boolean {
    return this.#maintenance === null || this.#maintenance.closesAt(time) !== null;
  }

  /** The next runs, for people to read. */
  list(after: number, count: number): Occurrence[] {
    const runs: Occurrence[] = [];
    for (let from = after; runs.length < count;) {
      const run = this.next(from);
      if (run === null) break;
      // Two that a maintenance window moves to the same place are one run.
      if (runs.at(-1)?.at !== run.at) runs.push(run);
      from = run.due;
    }
    return runs;
  }
}
