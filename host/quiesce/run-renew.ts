import { AppError } from '../../shared/errors.ts';
import type { CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { VirshSession } from '../libvirt/session.ts';
import { printEnvelope } from '../report/envelope.ts';
import { stateDirectory } from '../state/directory.ts';
import { watchdogCommand, watchdogMaxSeconds } from '../../shared/qga/watchdog.ts';
import * as z from 'zod/mini';
import { tryAgent } from './agent-session.ts';
import { readBootCentis } from './boot-clock.ts';
import { chooseRefs } from './choose-refs.ts';
import { renewLease, wakeGuard } from './guard.ts';
import { leaseDirectory, listLeases, readLease } from './lease-files.ts';
import { markOf, setMarkCommand } from './lease-mark.ts';
import { domainRefOf } from './lease-record.ts';
import { leaseResult } from './recover.ts';
import { blankResult, type QuiesceResult } from './result.ts';
import { failResult, statusOfWindow } from './window.ts';

/** `virt-trim lease renew`: the guests stay frozen, for `seconds` from now; null for as long as at first. */
export async function runRenew(context: CommandContext, words: readonly string[], seconds: number | null): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const leases = await listLeases(directory);
  const refs = await chooseRefs(
    connection,
    words,
    leases.map(({ record }) => domainRefOf(record)),
    context.signal,
  );
  const results: QuiesceResult[] = [];
  for (const ref of refs) {
    try {
      results.push(await renewOne(leaseDirectory(directory, ref.uuid), ref.name, seconds));
    } catch (thrown) {
      results.push(failResult(blankResult(ref.name, ref.uuid), thrown));
    }
  }
  const status = statusOfWindow(results);
  if (context.json) printEnvelope({ ...context, uri: connection.uri.text }, 'lease renew', startedAt, status, results);
  else for (const { name, deadline, reason } of results) context.say(`${name}: ${reason ?? `frozen until ${deadline ?? '?'}`}`);
  return status;
}

async function renewOne(directory: string, name: string, wanted: number | null): Promise<QuiesceResult> {
  const lease = await readLease(directory);
  if (lease === null) throw new AppError('refused', `${name}: no lease of ours holds it; there is nothing to renew`);
  const { record } = lease;
  const seconds = wanted ?? record.leaseSeconds;
  const deadline = readBootCentis() + Math.round(seconds * 100);
  const renewed = await renewLease(directory, deadline);
  if (renewed !== 'done')
    throw new AppError('refused', `${name}: the lease has run out; what was copied since is crash-consistent at best`);
  await wakeGuard(directory);
  const wall = new Date(Date.now() + seconds * 1000).toISOString();
  const session = VirshSession.open(new Connection(record.uri));
  try {
    // The agent's own deadline first: it is the one that thaws.
    const call = { uuid: record.uuid, command: watchdogCommand, schema: z.object({}), timeoutSeconds: 5 };
    const args = { seconds: Math.min(Math.ceil(seconds), watchdogMaxSeconds) };
    const watchdog = await tryAgent(session, { ...call, arguments: args });
    const mark = await session.run(setMarkCommand(record.uuid, markOf(record, deadline, wall)), 10_000);
    const result = { ...leaseResult({ ...lease, deadlineCentis: deadline }), leaseSeconds: seconds };
    if (!watchdog.ok && !['agent-unsupported', 'agent-blocked', 'agent-frozen'].includes(watchdog.error.code)) {
      return { ...result, reason: `renewed until ${wall}, but the agent did not answer: ${watchdog.error.message}` };
    }
    return mark.ok ? result : { ...result, reason: `renewed until ${wall}, but not in the domain's metadata: ${mark.error.message}` };
  } finally {
    await session.close();
  }
}
