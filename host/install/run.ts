import pLimit from 'p-limit';
import { AgentClient } from '../agent/client.ts';
import type { CommandContext } from '../commands/context.ts';
import { statusOfOutcomes, type Outcome } from '../commands/exit-status.ts';
import { exitStatus } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains } from '../libvirt/domains.ts';
import { loadConfig } from '../policy/config.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { selectDomains, type Selected } from '../trim/select.ts';
import { AppError } from '../../shared/errors.ts';
import { cloudInitUserData } from './cloud-init.ts';
import { blankInstallResult, installDomain, removeFromDomain, type InstallOutcome, type InstallSources } from './install-domain.ts';
import type { InstallOptions } from './options.ts';
import { buildPayload } from './payload.ts';
import { recoverInstalls } from './recover.ts';
import { installColumns, installRow, stepLines } from './rows.ts';
import type { InstallResult } from './schema.ts';
import { findOwnAgents } from './own-agent.ts';
import { findTools } from './situation.ts';
import { ways, type Way } from './ways.ts';

/** libguestfs' appliance takes more than a gigabyte of memory and a processor. */
const installsAtOnce = 2;

function notFound(each: Extract<Selected, { error: AppError }>): InstallOutcome {
  const { code, message: reason } = each.error;
  return { result: { ...blankInstallResult(each.wanted, null), status: 'failed', code, reason }, neutral: false };
}

function outcomeOf({ result, neutral }: InstallOutcome, underAll: boolean): Outcome {
  if (result.status === 'ok') return 'ok';
  return underAll && neutral ? 'neutral' : 'failed';
}

/** One domain alone keeps the status that its refusal has everywhere: 75 for busy. */
function statusOf(outcomes: readonly InstallOutcome[], underAll: boolean): number {
  const [only] = outcomes;
  if (only !== undefined && outcomes.length === 1 && !underAll && only.result.status !== 'ok') {
    if (only.result.code === 'busy') return exitStatus.busy;
    if (only.result.code === 'agent-frozen' && only.result.status === 'failed') return exitStatus.maybeFrozen;
  }
  return statusOfOutcomes(outcomes.map((outcome) => outcomeOf(outcome, underAll)));
}

function print(
  context: CommandContext,
  connection: Connection,
  verb: string,
  startedAt: Date,
  status: number,
  results: readonly InstallResult[],
  verbose: boolean,
): void {
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, `agent ${verb}`, startedAt, status, results);
    return;
  }
  context.out(`${renderTable(installColumns, results.map(installRow))}\n`);
  for (const result of results) {
    if (result.steps.length === 0 || (!verbose && result.status !== 'failed')) continue;
    context.out(`\n${result.name}, ${result.via ?? ''}:\n${stepLines(result).join('\n')}\n`);
  }
}

async function run(
  context: CommandContext,
  verb: 'install' | 'remove',
  words: readonly string[],
  options: InstallOptions,
  work: (sources: InstallSources, each: Extract<Selected, { ref: unknown }>) => Promise<InstallOutcome>,
): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  // What an interrupted run left is put in order before anything new is begun.
  if (!options.dryRun) {
    for (const { name, status, reason } of await recoverInstalls(context))
      if (status !== 'running')
        context.say(`${name}: an interrupted install was ${status === 'failed' ? `not recovered: ${reason ?? ''}` : status}`);
  }
  const all = await listDomains(connection, { signal: context.signal });
  const chain = { config: await loadConfig(context.env), env: context.env };
  const selected = await selectDomains(connection, all, { words, all: options.allMissing, exclude: options.exclude }, chain, {
    signal: context.signal,
  });
  const sources: InstallSources = {
    connection,
    client: new AgentClient(connection),
    stateDirectory: stateDirectory(context.env),
    env: context.env,
    signal: context.signal,
    say: context.say,
    tools: await findTools(context.env),
  };
  const limit = pLimit(installsAtOnce);
  const outcomes = await Promise.all(selected.map((each) => limit(() => ('ref' in each ? work(sources, each) : notFound(each)))));
  // Under --all-missing a domain that has an agent was never meant.
  const shown = options.allMissing ? outcomes.filter((outcome) => outcome.result.code !== 'present') : outcomes;
  const status = statusOf(shown, options.allMissing);
  print(
    context,
    connection,
    verb,
    startedAt,
    status,
    shown.map((outcome) => outcome.result),
    options.dryRun || context.verbose > 0,
  );
  return status;
}

/** `virt-trim agent install`: @returns the exit status. */
export async function runAgentInstall(context: CommandContext, words: readonly string[], options: InstallOptions): Promise<number> {
  if (options.print) return printSeed(context, options);
  return run(context, 'install', words, options, async (sources, each) => {
    if (isUnreadable(each.domain)) return notFound({ wanted: each.ref.name, error: each.domain.error });
    return installDomain(sources, each.domain, options);
  });
}

/** `virt-trim agent remove`: @returns the exit status. */
export async function runAgentRemove(context: CommandContext, words: readonly string[], options: InstallOptions): Promise<number> {
  const via: Way | null = options.via;
  if (via !== null && via !== 'offline' && via !== 'ssh' && via !== 'iso')
    throw new AppError(
      'usage',
      `--via ${via}: an agent is removed by one of ${ways.filter((way) => way === 'offline' || way === 'ssh' || way === 'iso').join(', ')}`,
    );
  return run(context, 'remove', words, options, async (sources, each) => {
    if (isUnreadable(each.domain)) return notFound({ wanted: each.ref.name, error: each.domain.error });
    return removeFromDomain(sources, each.domain, options, { via, ssh: options.ssh });
  });
}

/** `--via cloud-init --print`: the user data, for whatever hands it to the guest. Asks nobody and changes nothing. */
async function printSeed(context: CommandContext, options: InstallOptions): Promise<number> {
  const agent = options.agent ?? 'qemu-ga';
  const own = await findOwnAgents();
  const payload = await buildPayload(own, {
    architectures: agent === 'virt-trim' ? own.map((one) => one.arch) : [],
    packages: options.packages,
  });
  context.out(cloudInitUserData(payload, agent, '000000000000'));
  return exitStatus.done;
}
