import type { CommandContext } from '../commands/context.ts';
import { exitStatus } from '../commands/context.ts';
import { statusOfOutcomes } from '../commands/exit-status.ts';
import { Connection, type RunOptions } from '../libvirt/connection.ts';
import { chooseDomains, isReadable } from '../policy/choose.ts';
import { printEnvelope } from '../report/envelope.ts';
import { diagnose, diagnoseHost } from './diagnose.ts';
import type { Finding } from './finding.ts';
import { gatherFacts, type GatherOptions } from './gather/gather.ts';
import { checkLine, doctorLines } from './rows.ts';
import type { DoctorResult } from './schema.ts';

export interface DoctorReport {
  readonly results: readonly DoctorResult[];
  readonly host: readonly Finding[];
}

/** Examines the domains that the words mean. @throws AppError `usage`, and what Connection throws. */
export async function examine(
  connection: Connection,
  words: readonly string[],
  options: GatherOptions & RunOptions,
): Promise<DoctorReport> {
  const chosen = await chooseDomains(connection, words, { signal: options.signal });
  const { host, cases } = await gatherFacts(connection, chosen.filter(isReadable), options);
  const diagnoses = new Map(cases.map((one) => [one.facts.domain.uuid, diagnose(one)]));
  const results = chosen.map((one): DoctorResult => {
    const diagnosis = isReadable(one) ? diagnoses.get(one.uuid) : undefined;
    if (diagnosis !== undefined) {
      const { disks, findings, ...rest } = diagnosis;
      return { ...rest, status: 'ok', code: null, reason: null, disks: [...disks], findings: [...findings] };
    }
    const [code, reason] = isReadable(one) ? ['internal', 'was not examined'] : [one.error.code, one.error.message];
    return { name: one.name, uuid: one.uuid, status: 'failed', code, reason, verdict: 'unknown', disks: [], findings: [] };
  });
  return { results, host: diagnoseHost(host) };
}

export interface DoctorRequest {
  readonly words: readonly string[];
  readonly check: boolean;
  readonly askAgents: boolean;
  readonly probeStorage: boolean;
}

/** `virt-trim doctor`: read-only; `--check` exits with 1 where something blocks. */
export async function runDoctor(context: CommandContext, request: DoctorRequest): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const { askAgents, probeStorage } = request;
  const { results, host } = await examine(connection, request.words, { askAgents, probeStorage, signal: context.signal });
  const examined = statusOfOutcomes(results.map((result) => (result.status === 'ok' ? 'ok' : 'failed')));
  const blocked = request.check && results.some((result) => result.verdict === 'blocks');
  const status = examined === exitStatus.done && blocked ? exitStatus.failed : examined;
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'doctor', startedAt, status, results, { host });
    return status;
  }
  if (request.check) {
    context.out(`${checkLine(results)}\n`);
    return status;
  }
  const text = { color: context.color, all: context.verbose > 0 };
  for (const finding of host) context.say(`host: ${finding.evidence}; ${finding.message}`);
  for (const result of results) context.out(`${doctorLines(result, text).join('\n')}\n`);
  if (results.length > 1) context.say(checkLine(results));
  return status;
}
