import { cleanText } from '../../shared/clean-text.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Domain } from '../libvirt/domains.ts';
import { executeStep } from './execute.ts';
import { InstallRun, type RunSources } from './install-run.ts';
import { openJournal, type Journal } from './journal.ts';
import type { InstallOptions } from './options.ts';
import { needsColdStart, planInstall, type Attempt, type Plan } from './plan.ts';
import { planRemove, type RemoveOptions } from './plan-remove.ts';
import { removeReceipt } from './receipt.ts';
import type { InstallResult, StepResult } from './schema.ts';
import { readSituation, type Situation, type Tools } from './situation.ts';
import { destinationFor } from './ssh.ts';
import { describeStep } from './steps.ts';
import { undoInstall } from './undo.ts';

export interface InstallSources extends RunSources {
  readonly tools: Tools;
}

/** What became of one domain, and whether it counts under --all-missing. */
export interface InstallOutcome {
  readonly result: InstallResult;
  readonly neutral: boolean;
}

export function blankInstallResult(name: string, uuid: string | null): InstallResult {
  return { name, uuid, status: 'ok', code: null, reason: null, via: null, agent: null, steps: [], proof: null };
}

function planned(attempt: Attempt): StepResult[] {
  return attempt.steps.map((step) => ({ title: describeStep(step), status: 'planned' }));
}

interface Attempted {
  readonly result: InstallResult;
  readonly error: AppError | null;
}

async function openRun(
  sources: InstallSources,
  situation: Situation,
  options: InstallOptions,
  attempt: Attempt,
  verb: 'install' | 'remove',
): Promise<InstallRun> {
  const journal: Journal = await openJournal(sources.stateDirectory, {
    uuid: situation.domain.uuid,
    name: situation.domain.name,
    uri: sources.connection.uri.text,
    verb,
    via: attempt.via,
    agent: attempt.agent ?? 'qemu-ga',
  });
  return new InstallRun(sources, situation, options, journal);
}

/** Past the commit an agent that does not come up stays installed: the images cannot be put back, but `remove` can be asked for. */
async function failed(run: InstallRun, error: AppError, steps: StepResult[], at: number): Promise<Attempted> {
  const { name, uuid } = run.ref;
  const { verb, via } = run.journal.record;
  const outcome = await undoInstall({ connection: run.connection, ref: run.ref, journal: run.journal, stateDirectory: run.stateDirectory });
  const after =
    outcome.problems.length > 0
      ? `; not everything could be put back (${outcome.problems.join('; ')}); run: virt-trim recover`
      : outcome.how === 'finished'
        ? verb === 'install'
          ? '; the agent is in the image; look at its service in the guest, or take it out again: virt-trim agent remove'
          : ''
        : `; ${outcome.remark ?? 'everything is as it was'}`;
  const results = steps.map((step, index): StepResult => {
    if (index > at) return step;
    return { ...step, status: index === at ? 'failed' : outcome.how === 'undone' ? 'undone' : 'done' };
  });
  const reason = `${error.message}${after}`;
  return { result: { ...blankInstallResult(name, uuid), status: 'failed', code: error.code, reason, via, steps: results }, error };
}

async function perform(run: InstallRun, attempt: Attempt): Promise<Attempted> {
  const steps = planned(attempt);
  for (const [index, step] of attempt.steps.entries()) {
    try {
      run.signal.throwIfAborted();
      await run.journal.begin(describeStep(step));
      await executeStep(run, step);
      steps[index] = { title: describeStep(step), status: 'done' };
    } catch (thrown) {
      return failed(run, toAppError(run.signal.aborted ? run.signal.reason : thrown), steps, index);
    }
  }
  const { name, uuid } = run.ref;
  const result = {
    ...blankInstallResult(name, uuid),
    via: attempt.via,
    agent: run.brought === null && attempt.pending !== null ? null : run.agent,
    steps,
    proof: run.proof,
  };
  if (run.journal.record.verb === 'remove') await removeReceipt(run.stateDirectory, uuid);
  else await run.writeReceipt(run.proof !== null);
  await run.journal.close();
  if (attempt.pending === null) return { result: { ...result, reason: doneReason(run) }, error: null };
  return { result: { ...result, status: 'pending', ...attempt.pending }, error: null };
}

function doneReason(run: InstallRun): string | null {
  if (run.proof === null) return null;
  const { kind, version, frozenCount, frozenMs, trim, trimReason } = run.proof;
  const trimWords = trim === 'ok' ? 'trim ready' : `trim: ${trimReason ?? trim}`;
  const freezeWords =
    run.facts?.isWindows === true ? 'not frozen, it is Windows' : `froze and thawed ${frozenCount} file systems in ${frozenMs} ms`;
  return `${kind} ${cleanText(version, 40)} answers; ${freezeWords}; ${trimWords}`;
}

function outcomeOfPlan(domain: Domain, plan: Exclude<Plan, { verdict: 'go' }>): InstallOutcome {
  const blank = blankInstallResult(domain.name, domain.uuid);
  if (plan.verdict === 'present') return { result: { ...blank, code: 'present', reason: plan.reason }, neutral: true };
  return { result: { ...blank, status: 'skipped', code: plan.code, reason: plan.reason }, neutral: plan.neutral };
}

async function attemptAll(
  sources: InstallSources,
  situation: Situation,
  options: InstallOptions,
  attempts: readonly Attempt[],
  verb: 'install' | 'remove',
): Promise<InstallOutcome> {
  let last: InstallResult = blankInstallResult(situation.domain.name, situation.domain.uuid);
  for (const attempt of attempts) {
    const run = await openRun(sources, situation, options, attempt, verb);
    const { result, error } = await perform(run, attempt);
    last = result;
    if (
      error === null ||
      error.code === 'interrupted' ||
      error.code === 'internal' ||
      result.reason?.includes('virt-trim recover') === true
    ) {
      if (error?.code === 'interrupted' || error?.code === 'internal') throw error;
      return { result, neutral: false };
    }
    if (attempt !== attempts.at(-1))
      sources.say(`${situation.domain.name}: ${attempt.via} did not work (${result.reason ?? ''}); trying the next way`);
  }
  return { result: last, neutral: false };
}

/** Installs an agent in one domain, by the first way that works. Never throws but for `interrupted` and `internal`. */
export async function installDomain(sources: InstallSources, domain: Domain, options: InstallOptions): Promise<InstallOutcome> {
  try {
    const own: InstallOptions = options.ssh === null ? options : { ...options, ssh: destinationFor(options.ssh, domain.name) };
    const situation = await readSituation(domain, sources);
    const plan = planInstall(situation, own);
    if (plan.verdict !== 'go') return outcomeOfPlan(domain, plan);
    const [first] = plan.attempts;
    if (options.dryRun && first !== undefined) return dryRun(domain, first, situation);
    return await attemptAll(sources, situation, own, plan.attempts, 'install');
  } catch (thrown) {
    return failedOutcome(domain, thrown);
  }
}

/** Takes away what an install brought. Never throws but for `interrupted` and `internal`. */
export async function removeFromDomain(
  sources: InstallSources,
  domain: Domain,
  options: InstallOptions,
  remove: RemoveOptions,
): Promise<InstallOutcome> {
  try {
    const situation = await readSituation(domain, sources);
    const own = remove.ssh === null ? remove : { ...remove, ssh: destinationFor(remove.ssh, domain.name) };
    const plan = planRemove(situation, own);
    if (plan.verdict !== 'go') return outcomeOfPlan(domain, plan);
    const [first] = plan.attempts;
    if (options.dryRun && first !== undefined) return dryRun(domain, first, situation);
    return await attemptAll(sources, situation, options, plan.attempts, 'remove');
  } catch (thrown) {
    return failedOutcome(domain, thrown);
  }
}

function failedOutcome(domain: Domain, thrown: unknown): InstallOutcome {
  const error = toAppError(thrown);
  if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
  const { code, message: reason } = error;
  return { result: { ...blankInstallResult(domain.name, domain.uuid), status: 'failed', code, reason }, neutral: false };
}

function dryRun(domain: Domain, attempt: Attempt, situation: Situation): InstallOutcome {
  const blank = blankInstallResult(domain.name, domain.uuid);
  const reason =
    needsColdStart(situation) && attempt.pending === null
      ? 'the channel needs a cold start'
      : (attempt.pending?.reason ?? 'nothing was changed');
  return { result: { ...blank, code: 'dry-run', reason, via: attempt.via, agent: attempt.agent, steps: planned(attempt) }, neutral: false };
}
