import { AgentClient } from '../agent/client.ts';
import type { CommandContext } from '../commands/context.ts';
import { statusOfError, statusOfOutcomes, type Outcome } from '../commands/exit-status.ts';
import { Connection } from '../libvirt/connection.ts';
import { listDomains, type DomainRef } from '../libvirt/domains.ts';
import { loadConfig } from '../policy/config.ts';
import { recoverFirst } from '../quiesce/recover-first.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { appendHistory } from '../state/history.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import { backendsOf, hostOfUri } from './backend.ts';
import { explainGain, gainsSince, surveyFilesystems, type FilesystemGain } from './free-space.ts';
import { toHistory } from './history-entry.ts';
import type { TrimOptions } from './options.ts';
import { TrimProgress } from './progress.ts';
import { pathLines, totalLine, trimColumns, trimRows } from './rows.ts';
import { runWithinLimits } from './scheduler.ts';
import type { TrimResult } from './schema.ts';
import { selectDomains, type Selected, type SelectedDomain } from './select.ts';
import { emptyResult, trimDomain, type TrimDomainOptions, type TrimOutcome } from './trim-domain.ts';

function notFound(selected: Extract<Selected, { error: AppError }>): TrimOutcome {
  const { code, message } = selected.error;
  const result: TrimResult = {
    ...emptyResult({ name: selected.wanted, uuid: selected.uuid ?? null }),
    status: 'failed',
    code,
    reason: message,
  };
  return { result, neutral: false };
}

/** `trim=no` keeps a domain out of --all; whoever names it means it. */
function excludedByPolicy({ ref, policy }: SelectedDomain, options: TrimOptions): TrimOutcome | null {
  if (policy === null || policy.trim.value || !options.all) return null;
  return {
    result: { ...emptyResult(ref), status: 'skipped', code: 'excluded', reason: `trim=no in ${policy.trim.origin.place}` },
    neutral: true,
  };
}

/** Flags win over the domain's settings. */
function domainOptions(each: SelectedDomain, options: TrimOptions, signal: AbortSignal, progress: TrimProgress): TrimDomainOptions {
  const minimum = options.minimumBytes ?? each.policy?.minimumBytes.value ?? 0;
  return {
    minimumBytes: minimum === 0 ? null : minimum,
    timeoutSeconds: options.timeoutSeconds ?? each.policy?.timeoutSeconds.value ?? null,
    excludeDisks: each.policy?.excludeDisks.value ?? [],
    force: options.force,
    dryRun: options.dryRun,
    signal,
    onTrimming: (running, read) => progress.begin(running.uuid, running.name, read),
    onTrimmed: (running) => progress.end(running.uuid),
  };
}

/** The trims of a run, each domain's own deadline apart from the others'. */
export async function trimSelected(
  connection: Connection,
  selected: readonly Selected[],
  options: TrimOptions,
  signal: AbortSignal,
  progress: TrimProgress,
  told: { readonly before: (ref: DomainRef) => Promise<void>; readonly done: (outcome: TrimOutcome) => void },
): Promise<TrimOutcome[]> {
  const client = new AgentClient(connection);
  const place = { isLocal: connection.uri.isLocal, host: hostOfUri(connection.uri) };
  const jobs = await Promise.all(
    selected.map(async (each) => {
      if (!('ref' in each)) {
        return {
          backends: [],
          run: async () => {
            const outcome = notFound(each);
            told.done(outcome);
            return outcome;
          },
        };
      }
      return {
        backends: await backendsOf(each.domain, place, each.policy?.backend.value),
        run: async () => {
          await told.before(each.ref);
          const outcome =
            excludedByPolicy(each, options) ??
            (await trimDomain(connection, client, each.ref, domainOptions(each, options, signal, progress)));
          progress.end(each.ref.uuid);
          told.done(outcome);
          return outcome;
        },
      };
    }),
  );
  return runWithinLimits(jobs, options);
}

const recoverWaitMs = 10_000;

/** A guest that an interrupted run left frozen is thawed before it is asked to trim. */
async function endLeftovers(context: CommandContext, connection: Connection, directory: string, ref: DomainRef): Promise<void> {
  const ended = await recoverFirst(connection, directory, ref.uuid, recoverWaitMs);
  if (ended !== null) context.log.warn({ domain: ref.name, state: ended.state }, 'ended what an interrupted run left');
}

/** What was trimmed is trimmed, also where nobody can write it down. */
async function keepHistory(context: CommandContext, directory: string, uri: string, finished: readonly TrimOutcome[]): Promise<void> {
  try {
    await appendHistory(
      directory,
      finished.flatMap((outcome) => toHistory(uri, outcome.result)),
    );
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'state-directory') throw thrown;
    context.log.warn(error.message);
  }
}

function outcomeOf({ result, neutral }: TrimOutcome, underAll: boolean): Outcome {
  if (result.status === 'ok') return 'ok';
  return underAll && neutral ? 'neutral' : 'failed';
}

/** `virt-trim trim`: @returns the exit status. */
export async function runTrim(context: CommandContext, words: readonly string[], options: TrimOptions): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const all = await listDomains(connection, { signal: context.signal });
  const sources = { config: await loadConfig(context.env), env: context.env };
  const selected = await selectDomains(connection, all, { words, ...options }, sources, { signal: context.signal });
  const filesystems = connection.uri.isLocal
    ? await surveyFilesystems(selected.flatMap((each) => ('ref' in each ? [each.domain] : [])))
    : [];
  const progress = new TrimProgress(context.progressStream);
  const finished: TrimOutcome[] = [];
  const report = (outcome: TrimOutcome): void => {
    finished.push(outcome);
    const { name, status, code, wallMs } = outcome.result;
    context.log.info({ domain: name, status, code, ms: wallMs }, 'trim ended');
  };
  let interrupted: AppError | null = null;
  try {
    const before = options.dryRun ? async () => {} : (ref: DomainRef) => endLeftovers(context, connection, directory, ref);
    await trimSelected(connection, selected, options, context.signal, progress, { before, done: report });
  } catch (thrown) {
    interrupted = toAppError(context.signal.aborted ? context.signal.reason : thrown);
    if (interrupted.code !== 'interrupted') throw thrown;
  } finally {
    progress.stop();
    if (!options.dryRun) await keepHistory(context, directory, connection.uri.text, finished);
  }
  const results = inOrder(selected, finished);
  const status =
    interrupted === null ? statusOfOutcomes(finished.map((outcome) => outcomeOf(outcome, options.all))) : statusOfError(interrupted);
  if (interrupted !== null) sayInterrupted(context, interrupted, progress.names);
  const gains = options.dryRun ? [] : await gainsSince(filesystems, reclaimedByFile(results));
  printTrim(context, connection, startedAt, status, results, { dryRun: options.dryRun, filesystems: gains });
  return status;
}

/** As the domains were given; what was not begun when a run was interrupted is left out. */
function inOrder(selected: readonly Selected[], finished: readonly TrimOutcome[]): TrimResult[] {
  const keys = selected.map((each) => ('ref' in each ? each.ref.uuid : (each.uuid ?? each.wanted)));
  const results = finished.map((outcome) => outcome.result);
  return results.sort((a, b) => keys.indexOf(a.uuid ?? a.name) - keys.indexOf(b.uuid ?? b.name));
}

function reclaimedByFile(results: readonly TrimResult[]): Map<string, number> {
  return new Map(
    results.flatMap((result) =>
      result.disks.flatMap((disk) => (disk.source === null ? [] : [[disk.source, disk.reclaimedBytes ?? 0] as const])),
    ),
  );
}

function sayInterrupted(context: CommandContext, error: AppError, names: readonly string[]): void {
  context.log.error(error.message);
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
  run: { readonly dryRun: boolean; readonly filesystems: readonly FilesystemGain[] },
): void {
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'trim', startedAt, status, results, run);
    return;
  }
  context.out(`${renderTable(trimColumns, results.flatMap(trimRows))}\n`);
  if (context.verbose > 0) for (const line of results.flatMap(pathLines)) context.say(line);
  if (!run.dryRun) context.out(`\n${totalLine(results)}\n`);
  for (const note of run.filesystems.map(explainGain)) if (note !== null) context.out(`${note}\n`);
}
