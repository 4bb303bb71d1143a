import type { CommandContext } from '../commands/context.ts';
import { statusOfOutcomes } from '../commands/exit-status.ts';
import { Connection } from '../libvirt/connection.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { isUnreadable } from '../libvirt/domains.ts';
import { frozenStateOf, readFrozenStates, type FrozenState } from '../quiesce/frozen-state.ts';
import { gatherList, type ListedDomain } from './gather.ts';
import { listResult } from './result.ts';
import { listColumns, listRow } from './rows.ts';

/** `virt-trim list`: read-only, asks no guest without `--probe`. */
export async function runList(context: CommandContext, options: { readonly probe: boolean }): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const listed = await gatherList(connection, {
    probe: options.probe,
    stateDirectory: directory,
    signal: context.signal,
    warn: (text) => context.log.warn(text),
  });
  const leases = await readFrozenStates(directory);
  const results = listed.map((each) => listResult(each, frozenOf(each, leases)));
  const status = statusOfOutcomes(results.map((result) => (result.status === 'ok' ? 'ok' : 'failed')));
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'list', startedAt, status, results);
    return status;
  }
  context.out(
    `${renderTable(
      listColumns,
      results.map((result) => listRow(result, Date.now())),
    )}\n`,
  );
  for (const result of results) if (result.reason !== null) context.say(`${cleanText(result.name)}: ${result.reason}`);
  return status;
}

function frozenOf({ domain, probe }: ListedDomain, leases: Awaited<ReturnType<typeof readFrozenStates>>): FrozenState {
  if (isUnreadable(domain)) return { state: 'unknown', by: null, leaseId: null, deadline: null, since: null };
  return frozenStateOf(domain, leases, probe?.ok === true ? probe.facts.frozen : null);
}
