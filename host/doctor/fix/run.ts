import { AppError } from '../../../shared/errors.ts';
import { cleanText } from '../../../shared/clean-text.ts';
import { exitStatus, type CommandContext } from '../../commands/context.ts';
import { Connection } from '../../libvirt/connection.ts';
import { printEnvelope } from '../../report/envelope.ts';
import { stateDirectory } from '../../state/directory.ts';
import { domainArgument } from '../subject.ts';
import { checkMayChange } from './configuration.ts';
import { diffXml } from './diff.ts';
import { applyFix, findRevertable, prepareFix, readOneDomain, revertFix, type FixContext } from './fix.ts';
import { fixRules, type FixRule } from './plan.ts';
import type { FixResult } from './schema.ts';

export interface FixRequest {
  readonly domain: string;
  readonly only: readonly string[];
  readonly machine: string | null;
  readonly printDiff: boolean;
  readonly yes: boolean;
  readonly revert: boolean;
}

/** @throws AppError `usage` for a rule that fix knows nothing about. */
function readRules(names: readonly string[]): FixRule[] {
  return names.map((name) => {
    const rule = fixRules.find((one) => one === name);
    if (rule === undefined) throw new AppError('usage', `--only ${name}: fix can do ${fixRules.join(', ')}`);
    return rule;
  });
}

/** Shows what is about to happen and asks. @returns false where the answer is no. @throws AppError `usage` where nobody can be asked. */
async function confirm(context: CommandContext, result: FixResult, yes: boolean): Promise<boolean> {
  if (!context.json) context.out(`${result.diff.join('\n')}\n`);
  for (const warning of result.warnings) context.say(`note: ${warning}`);
  if (yes) return true;
  const answer = await context.ask(`Define '${cleanText(result.name)}' with this change? (y/N) `);
  if (answer === null) throw new AppError('usage', 'nobody is there to ask: give --yes, or --print-diff to see the change only');
  return answer;
}

async function prepareResult(
  fix: FixContext,
  request: FixRequest,
): Promise<{ result: FixResult; apply: () => Promise<string>; running: boolean }> {
  if (request.revert) {
    const domain = await readOneDomain(fix, request.domain);
    const warnings = await checkMayChange(fix.connection, domain, fix.run);
    const record = await findRevertable(fix, domain);
    const changes = record.changes.map((change) => `undo: ${change}`);
    const diff = diffXml(record.after, record.before);
    return {
      result: { ...blank(domain, 'revert'), changes, warnings, diff },
      apply: async () => (await revertFix(fix, record)).id,
      running: domain.id !== null,
    };
  }
  const prepared = await prepareFix(fix, request.domain, { only: readRules(request.only), machine: request.machine });
  const { domain, plan, diff, warnings } = prepared;
  return {
    result: {
      ...blank(domain, 'fix'),
      changes: plan.changes.map((change) => change.what),
      leftAlone: plan.leftAlone.map((left) => left.why),
      warnings: [...warnings],
      diff: [...diff],
    },
    apply: async () => (await applyFix(fix, prepared)).id,
    running: domain.id !== null,
  };
}

function blank(domain: { readonly name: string; readonly uuid: string }, action: FixResult['action']): FixResult {
  const { name, uuid } = domain;
  const rest = { changes: [], leftAlone: [], warnings: [], diff: [], applied: false, needsColdStart: false, recordId: null };
  return { name, uuid, status: 'ok', code: null, reason: null, action, ...rest };
}

/** `virt-trim fix` */
export async function runFix(context: CommandContext, request: FixRequest): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const fix: FixContext = { connection, stateDirectory: stateDirectory(context.env), run: { signal: context.signal } };
  const { result, apply, running } = await prepareResult(fix, request);
  for (const left of result.leftAlone) context.say(`left alone: ${left}`);
  const done = await carryOut(context, request, result, apply, running);
  const status = done.status === 'ok' || request.printDiff ? exitStatus.done : exitStatus.failed;
  if (context.json) printEnvelope({ ...context, uri: connection.uri.text }, 'fix', startedAt, status, [done]);
  else if (done.reason !== null) context.say(`${cleanText(done.name)}: ${done.reason}`);
  return status;
}

async function carryOut(
  context: CommandContext,
  request: FixRequest,
  result: FixResult,
  apply: () => Promise<string>,
  running: boolean,
): Promise<FixResult> {
  if (result.changes.length === 0) {
    const missed = result.leftAlone.length > 0;
    return {
      ...result,
      status: missed ? 'skipped' : 'ok',
      code: missed ? 'left-alone' : null,
      reason: missed ? 'nothing was changed' : 'there is nothing to fix',
    };
  }
  if (request.printDiff) {
    if (!context.json) context.out(`${result.diff.join('\n')}\n`);
    return { ...result, reason: 'only shown, not applied' };
  }
  if (!(await confirm(context, result, request.yes))) return { ...result, status: 'skipped', code: 'declined', reason: 'not applied' };
  const recordId = await apply();
  const name = domainArgument(result);
  const cold = running
    ? `takes effect when it has been shut down and started again (a reboot inside the guest is not enough); 'virt-trim doctor ${name}' tells when that is so`
    : 'takes effect at its next start';
  return {
    ...result,
    applied: true,
    needsColdStart: running,
    recordId,
    reason: `${result.action === 'fix' ? 'changed' : 'restored'}; ${cold}`,
  };
}
