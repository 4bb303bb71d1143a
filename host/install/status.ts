import pLimit from 'p-limit';
import { AgentClient } from '../agent/client.ts';
import { readKnownAgents, rememberAgents, type KnownAgent } from '../agent/known-agents.ts';
import type { CommandContext } from '../commands/context.ts';
import { statusOfOutcomes } from '../commands/exit-status.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, type Domain, type UnreadableDomain } from '../libvirt/domains.ts';
import { loadConfig } from '../policy/config.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { selectDomains } from '../trim/select.ts';
import { toAppError } from '../../shared/errors.ts';
import { findDefects } from './defects.ts';
import type { InstallOptions } from './options.ts';
import { judgeWays, needsColdStart } from './plan.ts';
import { interruptedInstalls } from './recover.ts';
import { defectNotes, statusColumns, statusNotes, statusRow } from './rows.ts';
import type { AgentStatus } from './schema.ts';
import { findTools, readSituation, type Situation, type SituationSources } from './situation.ts';

/** Each domain takes up to three virsh processes; libvirtd has 20 workers. */
const domainsAtOnce = 8;

const unasked: Pick<InstallOptions, 'via' | 'agent' | 'packages' | 'ssh' | 'iso' | 'boot' | 'upgrade' | 'print'> = {
  via: null,
  agent: null,
  packages: [],
  ssh: null,
  iso: null,
  boot: false,
  upgrade: false,
  print: false,
};

function unreadable({ name, uuid }: { name: string; uuid: string }, code: string, reason: string): AgentStatus {
  return {
    name,
    uuid,
    status: 'failed',
    code,
    reason,
    state: null,
    channel: null,
    agent: null,
    os: null,
    defects: [],
    installed: null,
    interrupted: null,
    ways: [],
  };
}

function statusOf(situation: Situation, known: KnownAgent | undefined, interrupted: string | null): AgentStatus {
  const { domain, channel, agent, agentProblem, receipt } = situation;
  const connected = domain.channel === 'connected';
  return {
    name: domain.name,
    uuid: domain.uuid,
    status: 'ok',
    code: agentProblem === null ? null : 'agent-silent',
    reason: agentProblem,
    state: domain.state,
    channel: {
      live: channel.live?.present ?? null,
      persistent: channel.persistent?.present ?? null,
      connected,
      needsColdStart: needsColdStart(situation) && channel.persistent?.present === true,
    },
    agent: {
      answering: agent !== null ? true : agentProblem !== null ? false : null,
      kind: agent?.kind ?? known?.kind ?? null,
      version: agent?.info.version ?? known?.version ?? null,
    },
    os: agent?.osText ?? known?.os ?? null,
    defects: agent === null ? [] : findDefects(agent),
    installed: receipt === null ? null : { via: receipt.via, agent: receipt.agent, at: receipt.installedAt, proven: receipt.proven },
    interrupted,
    ways: judgeWays(situation, unasked),
  };
}

/** What agents taught is kept for `list`. */
async function remember(directory: string, situations: readonly Situation[]): Promise<void> {
  const checkedAt = new Date().toISOString();
  const learned = situations.flatMap(({ domain, agent }): [string, KnownAgent][] =>
    agent === null ? [] : [[domain.uuid, { kind: agent.kind, version: agent.info.version, os: agent.osText, checkedAt }]],
  );
  await rememberAgents(directory, new Map(learned));
}

type Read = { readonly situation: Situation } | { readonly failed: AgentStatus };

async function readOne(domain: Domain | UnreadableDomain, sources: SituationSources): Promise<Read> {
  if (isUnreadable(domain)) return { failed: unreadable(domain, domain.error.code, domain.error.message) };
  try {
    return { situation: await readSituation(domain, sources) };
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
    return { failed: unreadable(domain, error.code, error.message) };
  }
}

/** `virt-trim agent status`: asks every connected agent, bounded and in parallel; changes nothing. @returns the exit status. */
export async function runAgentStatus(context: CommandContext, words: readonly string[]): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const all = await listDomains(connection, { signal: context.signal });
  const sources = { config: await loadConfig(context.env), env: context.env };
  const selected = await selectDomains(connection, all, { words, all: words.length === 0, exclude: [] }, sources, {
    signal: context.signal,
  });
  const limit = pLimit(domainsAtOnce);
  const client = new AgentClient(connection);
  const tools = await findTools(context.env);
  const interrupted = new Map((await interruptedInstalls(directory)).map(({ uuid, reason }) => [uuid, reason]));
  const known = await readKnownAgents(directory);
  const read = await Promise.all(
    selected.map((each) =>
      limit(async (): Promise<Read> =>
        'ref' in each
          ? readOne(each.domain, { connection, client, tools, stateDirectory: directory, signal: context.signal })
          : { failed: unreadable({ name: each.wanted, uuid: '' }, each.error.code, each.error.message) },
      ),
    ),
  );
  await remember(
    directory,
    read.flatMap((each) => ('situation' in each ? [each.situation] : [])),
  );
  const results = read.map((each) =>
    'failed' in each
      ? each.failed
      : statusOf(each.situation, known.get(each.situation.domain.uuid), interrupted.get(each.situation.domain.uuid) ?? null),
  );
  const status = statusOfOutcomes(results.map((result) => (result.status === 'ok' ? 'ok' : 'failed')));
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'agent status', startedAt, status, results);
    return status;
  }
  context.out(`${renderTable(statusColumns, results.map(statusRow))}\n`);
  for (const note of [...results.flatMap(statusNotes), ...defectNotes(results)]) context.say(note);
  return status;
}
