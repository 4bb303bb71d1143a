import { exitStatus, type CommandContext } from '../commands/context.ts';
import { printEnvelope } from '../report/envelope.ts';
import type { WindowOptions } from './options.ts';
import { chooseParticipants } from './participants.ts';
import { frozenLine, thawedLine } from './report.ts';
import { closeWindow, freezeWindow, prepareWindow, statusOfWindow, type Participant } from './window.ts';

/** What `hook pre` shares with `freeze`. */
export interface FreezeRequest {
  readonly command: string;
  readonly words: readonly string[];
  readonly options: WindowOptions;
  readonly caller: string;
}

/** Freezes all guests, or none. @returns whether they are frozen. */
async function freezeAll(participants: readonly Participant[], signal: AbortSignal): Promise<boolean> {
  return (await prepareWindow(participants)) && !signal.aborted && (await freezeWindow(participants)) && !signal.aborted;
}

/** `virt-trim freeze`: the guests stay frozen when we end; their guards thaw them when the lease runs out. */
export async function runFreeze(context: CommandContext, request: FreezeRequest): Promise<number> {
  const startedAt = new Date();
  const { options } = request;
  const { connection, participants } = await chooseParticipants(context, request.words, options, request.caller);
  const frozen = await freezeAll(participants, context.signal);
  if (frozen) await Promise.all(participants.map((each) => each.hold.session.close()));
  else await closeWindow(participants, options.waitMs);
  const results = participants.map((each) => each.result);
  const maybeFrozen = statusOfWindow(results) === exitStatus.maybeFrozen;
  if (context.signal.aborted && !maybeFrozen) throw context.signal.reason;
  const status = statusOfWindow(results);
  if (context.json) printEnvelope({ ...context, uri: connection.uri.text }, request.command, startedAt, status, results);
  else for (const result of results) (frozen ? context.out : context.say)(frozen ? `${frozenLine(result)}\n` : thawedLine(result));
  return status;
}
