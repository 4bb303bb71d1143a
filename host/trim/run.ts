import { hostname } from 'node:os';
import { AgentClient } from '../agent/client.ts';
import type { CommandContext } from '../commands/context.ts';
import { statusOfOutcomes, type Outcome } from '../commands/exit-status.ts';
import { isTrimmable } from '../doctor/subject.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type UnreadableDomain } from '../libvirt/domains.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { appendHistory, type HistoryEntry } from '../state/history.ts';
import { AppError } from '../../shared/errors.ts';
import { backendOf } from './backend.ts';
import type { TrimOptions } from './options.ts';
import { TrimProgress } from './progress.ts';
import { pathLines, totalLine, trimColumns, trimRows } from './rows.ts';
import { runWithinLimits } from './scheduler.ts';
import type { TrimResult } from './schema.ts';
import { selectDomains, type Selected } from './select.ts';
import { trimDomain, type TrimOutcome } from './trim-domain.ts';

/** Every backend of a domain's disks; a domain that cannot be read occupies none. */
async function backendsOf(domain: Domain | UnreadableDomain, connection: Connection): Promise<string[]> {
  if (isUnreadable(domain)) return [];
  const place = { isLocal: connection.uri.isLocal, host: connection.uri.isLocal ? hostname() : connection.name };
  return [...new Set(await Promise.all(domain.disks.filter(isTrimmable).map((disk) => backendOf(disk, place))))];
}

function notFound(selected: Extract<Selected, { error: AppError }>): TrimOutcome {
  const { code, message } = selected.error;
  const result: TrimResult = {
    name: selected.wanted,
    uuid: null,
    status: 'failed',
    code,
    reason: message,
    disks: [],
    paths: [],
    guestTrimMs: null,
    wallMs: 0,
    guestStillRunning: false,
  };
  return { result, neutral: false };
}

/** The trims of a run, each domain's own deadline apart from the others'. */
export async function trimSelected(
  connection: Connection,
  selected: readonly Selected[],
  options: TrimOptions,
  signal: AbortSignal,
  progress: TrimProgress,
  onDone: (outcome: TrimOutcome) => void,
): Promise<TrimOutcome[]> {
  const refs = selected.flatMap((each) => ('ref' in each ? [each.ref] : []));
  const domains = new Map((await readDomains(connection, refs, { signal })).map((domain) => [domain.uuid, domain]));
  const client = new AgentClient(connection);
  const jobs = await Promise.all(
    selected.map(async (each) => {
      if (!('ref' in each)) return { backends: [], run: async () => notFound(each) };
      const domain = domains.get(each.ref.uuid);
      return {
        backends: domain === undefined ? [] : await backendsOf(domain, connection),
        run: async () => {
          const outcome = await trimDomain(connection, client, each.ref, {
            ...options,
            excludeDisks: [],
            signal,
            onTrimming: (running, read) => progress.begin(running.uuid, running.name, read),
          });
          progress.end(each.ref.uuid);
          onDone(outcome);
          return outcome;
        },
      };
    }),
  );
  return runWithinLimits(jobs, options);
}

function toHistory(uri: string, result: TrimResult): HistoryEntry[] {
  if (result.uuid === null) return [];
  const sum = (pick: (disk: TrimResult['disks'][number]) => number | null): number | null => {
    const values = result.disks.map(pick);
    return values.length === 0 || values.includes(null) ? null : values.reduce<number>((total, value) => total + (value ?? 0), 0);
  };
  return [
    {
      v: 1,
      at: new Date().toISOString(),
      uri,
      uuid: result.uuid,
      name: result.name,
      status: result.status,
      code: result.code,
      beforeBytes: sum((disk) => disk.beforeBytes),
      afterBytes: sum((disk) => disk.afterBytes),
      reclaimedBytes: sum((disk) => disk.reclaimedBytes),
      wallMs: result.wallMs,
    },
  ];
}

function outcomeOf({ result, neutral }: TrimOutcome, underAll: boolean): Outcome {
  if (result.status === 'ok') return 'ok';
  return underAll && neutral ? 'neutral' : 'failed';
}

/** `virt-trim trim`: @returns the exit status. */
export async function runTrim(context: CommandContext, names: readonly string[], options: TrimOptions): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const all = await listDomains(connection, { signal: context.signal });
  const selected = await selectDomains(connection, all, { names, all: options.all, exclude: options.exclude }, { signal: context.signal });
  const progress = new TrimProgress(context.progressStream);
  const finished: TrimOutcome[] = [];
  const report = (outcome: TrimOutcome): void => {
    finished.push(outcome);
    context.log.info(
      { domain: outcome.result.name, status: outcome.result.status, code: outcome.result.code, ms: outcome.result.wallMs },
      'trim ended',
    );
  };
  try {
    const outcomes = await trimSelected(connection, selected, options, context.signal, progress, report);
    const status = statusOfOutcomes(outcomes.map((outcome) => outcomeOf(outcome, options.all)));
    progress.stop();
    printTrim(
      context,
      connection,
      startedAt,
      status,
      outcomes.map((outcome) => outcome.result),
      options.dryRun,
    );
    return status;
  } catch (thrown) {
    sayStillRunning(context, progress.names);
    throw thrown;
  } finally {
    progress.stop();
    if (!options.dryRun)
      await appendHistory(
        directory,
        finished.flatMap((outcome) => toHistory(connection.uri.text, outcome.result)),
      );
  }
}

function sayStillRunning(context: CommandContext, names: readonly string[]): void {
  for (const name of names) {
    context.log.error(
      { domain: name },
      'guest-fstrim was sent and goes on inside the guest; it ends by itself, and other agent calls wait for it until then',
    );
  }
}

function printTrim(
  context: CommandContext,
  connection: Connection,
  startedAt: Date,
  status: number,
  results: readonly TrimResult[],
  dryRun: boolean,
): void {
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'trim', startedAt, status, results, { dryRun });
    return;
  }
  context.out(`${renderTable(trimColumns, results.flatMap(trimRows))}\n`);
  if (context.verbose > 0) for (const line of results.flatMap(pathLines)) context.say(line);
  if (!dryRun) context.out(`\n${totalLine(results)}\n`);
}
