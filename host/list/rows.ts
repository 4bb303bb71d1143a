import { cleanText } from '../../shared/clean-text.ts';
import { formatBytes, formatDuration } from '../../shared/units.ts';
import type { Column } from '../report/table.ts';
import type { ListedResult, ReadableResult } from './schema.ts';

export const listColumns: readonly Column[] = [
  { head: 'Id', align: 'right' },
  { head: 'Name' },
  { head: 'State' },
  { head: 'Agent' },
  { head: 'Capacity', align: 'right' },
  { head: 'Allocation', align: 'right' },
  { head: 'Reclaimable', align: 'right' },
  { head: 'Last trim' },
  { head: 'Frozen' },
];

/** A sum is known only where every part is. */
function sum(values: readonly (number | null)[]): number | null {
  return values.length === 0 || values.includes(null) ? null : values.reduce<number>((total, value) => total + (value ?? 0), 0);
}

function agentCell(result: ReadableResult, now: number): string {
  const { channel, answering, kind, version, checkedAt } = result.agent;
  if (channel === 'absent') return 'no channel';
  if (result.id === null) return '-';
  if (channel === 'disconnected') return 'not connected';
  if (answering === false) return 'silent';
  const who = kind === null ? 'connected' : `${kind} ${version ?? ''}`.trim();
  const age = answering === true || checkedAt === null ? '' : ` (${formatDuration(Math.max(0, now - Date.parse(checkedAt)))} ago)`;
  return who + age;
}

function trimCell(result: ReadableResult, now: number): string {
  if (result.lastTrim === null) return 'never';
  const { at, reclaimedBytes, status } = result.lastTrim;
  const outcome = status === 'ok' ? formatBytes(reclaimedBytes) : status;
  return `${formatDuration(Math.max(0, now - Date.parse(at)))} ago, ${outcome}`;
}

function frozenCell({ frozen }: ReadableResult): string {
  if (frozen.state === 'thawed') return 'no';
  if (frozen.state === 'unknown') return '-';
  return `yes, by ${frozen.by === 'us' ? `us${frozen.since === null ? '' : ` since ${frozen.since}`}` : 'somebody else'}`;
}

/** One domain as a row. @param now milliseconds since the epoch. */
export function listRow(result: ListedResult, now: number): string[] {
  if (result.status === 'failed') return ['-', cleanText(result.name), `unreadable: ${result.code}`, '-', '-', '-', '-', '-', '-'];
  return [
    result.id === null ? '-' : String(result.id),
    cleanText(result.name),
    result.stateReason !== null && result.state === 'paused' ? `paused (${result.stateReason})` : result.state,
    agentCell(result, now),
    formatBytes(sum(result.disks.map((disk) => disk.capacityBytes))),
    formatBytes(sum(result.disks.map((disk) => disk.allocationBytes))),
    formatBytes(sum(result.disks.map((disk) => disk.reclaimableBytes))),
    trimCell(result, now),
    frozenCell(result),
  ];
}
