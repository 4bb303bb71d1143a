import { AppError } from '../../shared/errors.ts';
import type { Connection, RunOptions, VirshAnswer } from './connection.ts';
import type { DiskDescription } from './domain-xml.ts';

/** What is going on with a domain that forbids us to touch it, in words; null when nothing is. */
export interface ActiveJob {
  readonly kind: 'migration' | 'save' | 'dump' | 'backup' | 'snapshot' | 'block-copy' | 'other';
  readonly detail: string;
}

/** Reads `virsh domjobinfo`: `Job type: None|Bounded|Unbounded|…` and, from 4.x on, `Operation: …`. */
export function parseJobInfo(text: string): ActiveJob | null {
  const type = /^Job type:\s*(.+?)\s*$/m.exec(text)?.[1] ?? 'None';
  if (type === 'None' || type === 'Completed' || type === 'Failed' || type === 'Cancelled') return null;
  const operation = /^Operation:\s*(.+?)\s*$/m.exec(text)?.[1] ?? 'unknown operation';
  const kinds: readonly (readonly [RegExp, ActiveJob['kind']])[] = [
    [/migration/i, 'migration'],
    [/save|restore/i, 'save'],
    [/dump/i, 'dump'],
    [/backup/i, 'backup'],
    [/snapshot/i, 'snapshot'],
  ];
  return { kind: kinds.find(([pattern]) => pattern.test(operation))?.[1] ?? 'other', detail: operation };
}

/** A copy, commit or pull job shows in the live XML as `<mirror job=…>`. */
export function mirrorJob(disks: readonly DiskDescription[]): ActiveJob | null {
  const disk = disks.find((candidate) => candidate.mirrorJob !== null);
  return disk === undefined ? null : { kind: 'block-copy', detail: `${disk.mirrorJob ?? 'copy'} job on ${disk.target}` };
}

/** What `virsh domjobinfo` answered for a running domain, and what its XML shows. @throws AppError the answer's own. */
export function jobOf(disks: readonly DiskDescription[], answer: VirshAnswer | undefined): ActiveJob | null {
  const mirror = mirrorJob(disks);
  if (mirror !== null) return mirror;
  if (answer === undefined) throw new AppError('internal', 'virsh batch without an answer');
  if (!answer.ok) throw answer.error;
  return parseJobInfo(answer.stdout);
}

/**
 * The jobs of a running domain, whoever started them. One virsh process.
 * @throws AppError as Connection.run does.
 */
export async function readJob(
  connection: Connection,
  uuid: string,
  disks: readonly DiskDescription[],
  options: RunOptions = {},
): Promise<ActiveJob | null> {
  const [answer] = await connection.runAll([['domjobinfo', uuid]], options);
  return jobOf(disks, answer);
}
