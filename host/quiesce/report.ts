import { formatDuration } from '../../shared/units.ts';
import type { QuiesceResult } from './result.ts';

const seconds = (ms: number): string => (ms < 10_000 ? `${ms} ms` : formatDuration(ms));

function filesystems(count: number): string {
  return `${count} filesystem${count === 1 ? '' : 's'}`;
}

function consistencyWords(result: QuiesceResult): string | null {
  if (result.consistency === null) return null;
  return `consistency: ${result.consistency}${result.consistencyReason === null ? '' : ` (${result.consistencyReason})`}`;
}

/** One line for a guest that was frozen and left so. */
export function frozenLine(result: QuiesceResult): string {
  if (result.status !== 'ok') return `${result.name}: not frozen: ${result.reason ?? result.status}`;
  if (result.consistency === 'paused') return `${result.name}: paused; stands still without a freeze`;
  const guard = result.guard?.kind === 'systemd' ? result.guard.unit : `process ${result.guard?.pid ?? '?'}`;
  return [
    `${result.name}: frozen: ${filesystems(result.frozenCount ?? 0)}`,
    consistencyWords(result),
    `thawed by ${guard} at ${result.deadline ?? '?'} at the latest`,
    `lease ${result.leaseId ?? '-'}`,
  ]
    .filter((part) => part !== null)
    .join('; ');
}

/** One line for a guest whose window is closed. */
export function thawedLine(result: QuiesceResult): string {
  const parts = [`${result.name}: ${result.state === 'thawed' ? 'thawed' : result.state === 'frozen' ? 'FROZEN' : 'state unknown'}`];
  if (result.frozenMs !== null) parts.push(`was frozen for ${seconds(result.frozenMs)}`);
  if (result.thawedCount !== null) parts.push(filesystems(result.thawedCount));
  const consistency = consistencyWords(result);
  if (consistency !== null) parts.push(consistency);
  if (result.leaseExpired) parts.push('the lease had run out');
  if (result.skipped.length > 0) parts.push(`not freezable: ${result.skipped.map(({ path, reason }) => `${path} (${reason})`).join(', ')}`);
  if (result.reason !== null)
    parts.push(result.reason.startsWith(`${result.name}: `) ? result.reason.slice(result.name.length + 2) : result.reason);
  return parts.join('; ');
}
