import { toAppError } from '../../shared/errors.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { recoveredLine, recoverInstalls } from '../install/recover.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains } from '../libvirt/domains.ts';
import { printEnvelope } from '../report/envelope.ts';
import { stateDirectory } from '../state/directory.ts';
import { listLeases, sweepLeases } from './lease-files.ts';
import { recoverLease, recoverMark, strayMark } from './recover.ts';
import { thawedLine } from './report.ts';
import type { QuiesceResult } from './result.ts';
import { statusOfWindow } from './window.ts';

/** `virt-trim recover`: every lease of the state directory, every mark of the connection that no lease accounts for, every interrupted install. */
export async function runRecover(context: CommandContext, waitMs: number): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  await sweepLeases(directory);
  const leases = await listLeases(directory);
  const results: QuiesceResult[] = await Promise.all(leases.map((lease) => recoverLease(connection, lease, waitMs)));
  try {
    const domains = await readDomains(connection, await listDomains(connection, { signal: context.signal }), { signal: context.signal });
    for (const domain of domains) {
      const mark = isUnreadable(domain) ? null : strayMark(domain, leases);
      if (mark !== null && !isUnreadable(domain)) results.push(await recoverMark(connection, directory, domain, mark, waitMs));
    }
  } catch (thrown) {
    // The leases are done with; without libvirt nothing is known of marks.
    if (results.length === 0) throw thrown;
    context.say(`error: ${toAppError(thrown).message}`);
  }
  // Frozen guests first: an install that is undone takes its time.
  const installs = await recoverInstalls(context);
  const windows = statusOfWindow(results);
  const status = windows === exitStatus.done && installs.some((each) => each.status === 'failed') ? exitStatus.failed : windows;
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'recover', startedAt, status, results, { installs });
    return status;
  }
  for (const result of results) context.out(`${thawedLine(result)}\n`);
  for (const each of installs) context.out(`${recoveredLine(each)}\n`);
  if (results.length + installs.length === 0) context.say('nothing to recover');
  return status;
}
