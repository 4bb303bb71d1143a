import { cleanText } from '../../shared/clean-text.ts';
import { formatDuration } from '../../shared/units.ts';
import type { Column } from '../report/table.ts';
import type { ScheduleResult } from './schema.ts';

export const scheduleColumns: readonly Column[] = [{ head: 'Domain' }, { head: 'Hypervisor' }, { head: 'Next' }, { head: 'Why' }];

/** `Wed 2026-11-25 23:14:07` in the domain's own time zone, as the cron expression means it. */
export function formatLocal(iso: string, timeZone: string | null): string {
  const date = new Date(iso);
  const zone = timeZone === null ? {} : { timeZone };
  const weekday = new Intl.DateTimeFormat('en', { ...zone, weekday: 'short' }).format(date);
  const text = new Intl.DateTimeFormat('sv', { ...zone, dateStyle: 'short', timeStyle: 'medium' }).format(date);
  return `${weekday} ${text}`;
}

/** Why a domain is trimmed when it is. */
export function explainSchedule(result: ScheduleResult, origin: string): string {
  const { schedule, windowSeconds, splaySeconds, maintenance, timeZone } = result;
  const splay =
    windowSeconds === 0 ? '' : ` + ${formatDuration((splaySeconds ?? 0) * 1000)} of ${formatDuration((windowSeconds ?? 0) * 1000)}`;
  const windows = maintenance === null ? '' : `, within ${maintenance}`;
  return `${schedule ?? ''} ${timeZone ?? ''}${splay}${windows} (${origin})`;
}

/** The rows of a domain: one for each of its next runs, or one that says why there is none. */
export function scheduleRows(result: ScheduleResult): string[][] {
  const now = result.now === null ? '' : `${result.now.state}${result.now.detail === null ? '' : `: ${result.now.detail}`}; `;
  const first = [cleanText(result.name), cleanText(result.hypervisor)];
  const reason = cleanText(now + result.reason, 200);
  if (result.next.length === 0) return [[...first, '-', reason]];
  return result.next.map(({ at }, index) =>
    index === 0 ? [...first, formatLocal(at, result.timeZone), reason] : ['', '', formatLocal(at, result.timeZone), ''],
  );
}
