import { constants } from 'node:os';
import { toAppError, type AppError } from '../../shared/errors.ts';
import { statusOfError } from '../commands/exit-status.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { runForeground } from '../process.ts';
import { printEnvelope } from '../report/envelope.ts';
import { commandEnvironment, findProgram } from './command.ts';
import type { WindowOptions } from './options.ts';
import { chooseParticipants } from './participants.ts';
import { thawedLine } from './report.ts';
import { closeWindow, freezeWindow, prepareWindow, statusOfWindow } from './window.ts';

interface CommandEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly error: AppError | null;
}

export interface QuiesceRequest {
  readonly words: readonly string[];
  readonly command: readonly string[];
  /** Run where the cut turned out lower than required, so that nobody takes it for good. */
  readonly undo: string | null;
  readonly options: WindowOptions;
}

/** `virt-trim quiesce`: freezes all, runs the command once, thaws all. */
export async function runQuiesce(context: CommandContext, request: QuiesceRequest): Promise<number> {
  const startedAt = new Date();
  const [name = '', ...args] = request.command;
  const program = await findProgram(name, context.env);
  const undo = request.undo === null ? null : await findProgram(request.undo, context.env);
  const { connection, participants, domains } = await chooseParticipants(context, request.words, request.options, 'quiesce');
  const run = async (file: string, rest: readonly string[], env: Record<string, string>, signal?: AbortSignal): Promise<CommandEnd> => {
    try {
      const stdout = context.json ? ('stderr' as const) : ('inherit' as const);
      return { ...(await runForeground(file, rest, { env, stdout, ...(signal === undefined ? {} : { signal }) })), error: null };
    } catch (thrown) {
      return { exitCode: null, signal: null, error: toAppError(thrown) };
    }
  };
  let command: CommandEnd | null = null;
  try {
    const open =
      (await prepareWindow(participants)) && !context.signal.aborted && (await freezeWindow(participants)) && !context.signal.aborted;
    if (open) command = await run(program, args, commandEnvironment(participants, domains, connection.uri.text), context.signal);
  } finally {
    await closeWindow(participants, request.options.waitMs);
  }
  const results = participants.map((each) => each.result);
  const own = statusOfWindow(results);
  if (undo !== null && command !== null && own === exitStatus.refused) {
    context.say(`the cut is not as consistent as required; running ${request.undo}`);
    const undone = await run(undo, [], commandEnvironment(participants, domains, connection.uri.text));
    if (undone.exitCode !== 0) context.say(`error: ${request.undo} failed: ${words(undone)}; the cut still exists`);
  } else if (command !== null && own === exitStatus.refused) {
    context.say('the cut that the command made still exists, and is not as consistent as required; remove it, or give --undo');
  }
  const status = combine(own, command, context.signal);
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'quiesce', startedAt, status, results, {
      commandStatus: command?.exitCode ?? null,
      commandSignal: command?.signal ?? null,
    });
    return status;
  }
  for (const result of results) context.say(thawedLine(result));
  if (command === null && !context.signal.aborted) context.say(`${name} was not run`);
  else if (command !== null && command.exitCode !== 0) context.say(`${name} failed: ${words(command)}`);
  return status;
}

function words(end: CommandEnd): string {
  return end.error?.message ?? (end.signal === null ? `status ${end.exitCode ?? '?'}` : `ended by ${end.signal}`);
}

/** The command's own status, unless ours is 3, 70 or 75; ours where it did not run. As the shell has it, a signal is 128 + its number. */
function combine(own: number, command: CommandEnd | null, signal: AbortSignal): number {
  if (([exitStatus.maybeFrozen, exitStatus.refused, exitStatus.busy] as number[]).includes(own)) return own;
  if (signal.aborted) return statusOfError(toAppError(signal.reason));
  if (command === null || command.error !== null) return own === exitStatus.done ? exitStatus.failed : own;
  if (command.signal !== null) return 128 + (constants.signals[command.signal as NodeJS.Signals] ?? 0);
  return command.exitCode ?? exitStatus.failed;
}
