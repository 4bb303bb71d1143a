import type { CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { stateDirectory } from '../state/directory.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { toAppError } from '../../shared/errors.ts';
import { isOwned, readJournals, type Journal } from './journal.ts';
import { undoInstall } from './undo.ts';

/** What became of an install or a removal that was interrupted. */
export interface RecoveredInstall {
  readonly name: string;
  readonly uuid: string;
  readonly verb: 'install' | 'remove';
  readonly via: string;
  /** The step that was in hand. */
  readonly step: string;
  readonly status: 'undone' | 'finished' | 'failed' | 'running';
  readonly reason: string | null;
}

function describe({ record }: Journal): Pick<RecoveredInstall, 'name' | 'uuid' | 'verb' | 'via' | 'step'> {
  const { name, uuid, verb, via, step } = record;
  return { name, uuid, verb, via, step };
}

/** Those that nobody works on any more; changes nothing. For `list`, `agent status`, and verbs that only report. */
export async function interruptedInstalls(directory: string): Promise<RecoveredInstall[]> {
  const journals = (await readJournals(directory)).filter((journal) => !isOwned(journal.record));
  return journals.map((journal) => ({
    ...describe(journal),
    status: 'failed',
    reason: `an agent ${journal.record.verb} of ${journal.record.startedAt} was interrupted (${journal.record.step}); run: virt-trim recover`,
  }));
}

/** Undoes or finishes one. Never throws. */
export async function recoverInstall(journal: Journal, directory: string): Promise<RecoveredInstall> {
  const { record } = journal;
  try {
    await journal.adopt();
    const connection = new Connection(record.uri);
    const outcome = await undoInstall({ connection, ref: record, journal, stateDirectory: directory });
    if (outcome.problems.length > 0) return { ...describe(journal), status: 'failed', reason: outcome.problems.join('; ') };
    return { ...describe(journal), status: outcome.how, reason: outcome.remark };
  } catch (thrown) {
    return { ...describe(journal), status: 'failed', reason: toAppError(thrown).message };
  }
}

/**
 * Undoes (or, where an image was being written, finishes) every install and removal of this state directory that was interrupted.
 * One that a living process works on is left alone and told. Never throws for a single one.
 */
export async function recoverInstalls(context: Pick<CommandContext, 'env'>): Promise<RecoveredInstall[]> {
  const directory = stateDirectory(context.env);
  const recovered: RecoveredInstall[] = [];
  for (const journal of await readJournals(directory)) {
    if (isOwned(journal.record)) recovered.push({ ...describe(journal), status: 'running', reason: null });
    else recovered.push(await recoverInstall(journal, directory));
  }
  return recovered;
}

/** One of them for a person. */
export function recoveredLine({ name, verb, via, step, status, reason }: RecoveredInstall): string {
  const what = `${cleanText(name)}: agent ${verb} (${via})`;
  switch (status) {
    case 'undone':
      return `${what} was interrupted (${step}); ${reason ?? 'everything is as it was'}`;
    case 'finished':
      return `${what} was interrupted (${step}) while the image was written; it is finished now; prove it: virt-trim agent install ${name}`;
    case 'running':
      return `${what} is at work (${step})`;
    default:
      return `${what} was interrupted (${step}) and could not be put back: ${cleanText(reason ?? '', 400)}`;
  }
}
