import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { chooseDomains, isReadable } from './choose.ts';
import { configDirectory, loadConfig, type Config } from './config.ts';
import { configJsonSchema } from './config-schema.ts';
import { effectivePolicy } from './effective.ts';
import { changePolicy, readAssignments, readKey } from './metadata.ts';
import { policyColumns, policyRows } from './rows.ts';
import type { Domain } from '../libvirt/domains.ts';

async function readOne(connection: Connection, name: string, signal: AbortSignal): Promise<Domain> {
  const [chosen] = await chooseDomains(connection, [name], { signal });
  if (chosen === undefined) throw new AppError('domain-unknown', `domain '${name}' not found`);
  if (!isReadable(chosen)) throw chosen.error;
  return chosen;
}

/** `virt-trim policy show`, `config show --effective`: what holds for these domains, and where it comes from. */
export async function runPolicyShow(context: CommandContext, words: readonly string[]): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const config = await loadConfig(context.env);
  const chosen = await chooseDomains(connection, words, { signal: context.signal });
  const shown = chosen.map((domain) => {
    if (!isReadable(domain)) throw domain.error;
    return { domain, policy: effectivePolicy(domain, { env: context.env, config }) };
  });
  if (context.json) {
    const domains = shown.map(({ domain, policy }) => ({
      name: domain.name,
      uuid: domain.uuid,
      status: 'ok',
      code: null,
      reason: null,
      policy,
    }));
    printEnvelope({ ...context, uri: connection.uri.text }, 'policy', startedAt, exitStatus.done, domains);
    return exitStatus.done;
  }
  for (const { domain, policy } of shown) {
    if (shown.length > 1) context.out(`${cleanText(domain.name)}\n`);
    context.out(`${renderTable(policyColumns, policyRows(policy))}\n`);
  }
  return exitStatus.done;
}

export interface PolicyChange {
  readonly domain: string;
  /** `KEY=VALUE` for set, `KEY` for unset. */
  readonly words: readonly string[];
  readonly unset: boolean;
}

/** `virt-trim policy set|unset` */
export async function runPolicyChange(context: CommandContext, request: PolicyChange): Promise<number> {
  const startedAt = new Date();
  const assigned = request.unset ? {} : readAssignments(request.words);
  const removed = new Set<string>(request.unset ? request.words.map(readKey) : []);
  const connection = new Connection(context.uri);
  const domain = await readOne(connection, request.domain, context.signal);
  const policy = await changePolicy(
    connection,
    domain,
    (before) => Object.fromEntries(Object.entries({ ...before, ...assigned }).filter(([key]) => !removed.has(key))),
    { signal: context.signal },
  );
  if (context.json) {
    const result = { name: domain.name, uuid: domain.uuid, status: 'ok', code: null, reason: null, policy };
    printEnvelope({ ...context, uri: connection.uri.text }, 'policy', startedAt, exitStatus.done, [result]);
    return exitStatus.done;
  }
  const lines = Object.entries(policy).map(([key, value]) => `${key}=${cleanText(value)}`);
  context.say(`${cleanText(domain.name)}: ${lines.length === 0 ? 'no settings of its own' : lines.join(' ')}`);
  return exitStatus.done;
}

function describeConfig(config: Config): unknown {
  return {
    files: config.files,
    defaults: config.defaults,
    domains: config.rules.map((rule) => ({ match: rule.match, place: rule.place, settings: rule.values })),
    connections: config.connections,
    limits: config.limits,
  };
}

/** `virt-trim config show`, without a domain: what the files say, value by value with file and line. */
export async function runConfigShow(context: CommandContext): Promise<number> {
  const config = await loadConfig(context.env);
  if (config.files.length === 0) context.say(`no configuration in ${configDirectory(context.env)}: defaults hold`);
  context.out(`${JSON.stringify(describeConfig(config), null, 2)}\n`);
  return exitStatus.done;
}

/** `virt-trim config schema` */
export function runConfigSchema(context: CommandContext): number {
  context.out(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  return exitStatus.done;
}
