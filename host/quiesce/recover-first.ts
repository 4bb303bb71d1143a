import { leaseDirectory, readLease } from './lease-files.ts';
import { recoverLease } from './recover.ts';
import type { QuiesceResult } from './result.ts';
import type { Connection } from '../libvirt/connection.ts';

/**
 * Ends what an interrupted run left on a domain, before a verb changes anything there. A lease that somebody works with, or that holds
 * the guest on purpose, is left alone (a guard of it that died is started again).
 * @returns what was done; null where there was nothing to do.
 */
export async function recoverFirst(
  connection: Connection,
  stateDirectory: string,
  uuid: string,
  waitMs: number,
): Promise<QuiesceResult | null> {
  const lease = await readLease(leaseDirectory(stateDirectory, uuid));
  if (lease === null) return null;
  const ended = await recoverLease(connection, lease, waitMs);
  return ended.status === 'skipped' ? null : ended;
}
