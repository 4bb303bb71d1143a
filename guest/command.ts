import type { Freezer } from './freeze/freezer.ts';
import type { JsonInteger } from './json/value.ts';
import type { Log } from './log.ts';
import type { Sys } from './sys.ts';
import type { Trimmer } from './trim/trimmer.ts';

export type ParameterType = 'integer' | 'stringList';

export interface Parameter {
  readonly name: string;
  readonly type: ParameterType;
  readonly optional?: true;
}

/** Checked arguments. No command has two parameters of one type. */
export interface Arguments {
  readonly integer: number | JsonInteger | undefined;
  readonly stringList: readonly string[] | undefined;
}

/** What a command may use. */
export interface CommandContext {
  readonly sys: Sys;
  readonly log: Log;
  readonly freezer: Freezer;
  readonly trimmer: Trimmer;
  /** Every command with whether it may be called just now, for guest-info. */
  listCommands(): readonly { readonly name: string; readonly enabled: boolean }[];
  /** The answer to this request gets one byte FF before it. */
  delimitAnswer(): void;
}

/** Called once with the answer of a command that takes its time. */
export type Finish = (answer: { readonly value: unknown } | { readonly error: string }) => void;

export interface Command {
  /** The wire name. */
  readonly name: string;
  readonly parameters?: readonly Parameter[];
  /** Allowed while the guest is frozen. All others are refused then. */
  readonly whileFrozen?: true;
  /** Answered at once while a freeze or a trim is still running; all others wait for its end. */
  readonly besideJob?: true;
  /** The client that sends it has given up on what it asked before. */
  readonly resynchronises?: true;
  /** Answers at once; `undefined` is the empty object. @throws QgaError */
  readonly run?: (context: CommandContext, args: Arguments) => unknown;
  /** Runs as the one job: the answer comes through `finish`. @throws QgaError before it has begun */
  readonly start?: (context: CommandContext, args: Arguments, finish: Finish) => Job;
}

/** A freeze or trim that is under way. */
export interface Job {
  /** Nobody waits for the answer any more: the client resynchronised or left. */
  abandon(): void;
  /** Something that cannot run beside this job waits for it. */
  makeWay(): void;
}
