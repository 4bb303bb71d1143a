#!/usr/bin/env node
import { CommanderError, type Command } from 'commander';
import { AppError, toAppError } from '../shared/errors.ts';
import { createProgram, type GlobalOptions } from './cli.ts';
import { exitStatus, type CommandContext } from './commands/context.ts';
import { statusOfError } from './commands/exit-status.ts';
import { printEnvelope } from './report/envelope.ts';

// The only file that touches the process: signals, streams, exit status.

const controller = new AbortController();
const startedAt = new Date();

/** The daemon reads its configuration again; for everything else a hang-up is the end. */
let onHangup: (() => void) | null = null;

function onSignal(signal: NodeJS.Signals): void {
  if (signal === 'SIGHUP' && onHangup !== null) {
    onHangup();
    return;
  }
  if (controller.signal.aborted) process.exit(signal === 'SIGTERM' ? exitStatus.terminated : exitStatus.interrupted); // asked twice
  controller.abort(new AppError('interrupted', `interrupted by ${signal}`, { context: { signal } }));
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);

/** A reader that went away (`virt-trim list | head`) must not take a thaw with it: what is written after that is dropped. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}

async function ask(question: string): Promise<boolean | null> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return null;
  const { createInterface } = await import('node:readline/promises');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(question, { signal: controller.signal });
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

async function createContext(globals: GlobalOptions): Promise<CommandContext> {
  const { createLogger } = await import('./logger.ts'); // not for --version and --help
  const write = (text: string): void => void process.stderr.write(text);
  const quiet = globals.quiet === true;
  const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
  return {
    uri: globals.connect?.at(-1) ?? '',
    uris: globals.connect ?? [],
    json: globals.json === true,
    quiet,
    verbose: globals.verbose,
    env: process.env,
    log: createLogger({ quiet, verbose: globals.verbose, env: process.env, write }),
    signal: controller.signal,
    onHangup: (call) => {
      onHangup = call;
      return () => {
        onHangup = null;
      };
    },
    out: (text) => void process.stdout.write(text),
    say: (text) => (quiet ? undefined : write(`${text}\n`)),
    ask,
    stdoutIsTerminal: process.stdout.isTTY,
    progressStream: process.stderr.isTTY && !quiet && globals.json !== true ? process.stderr : null,
    color,
    width: process.stdout.columns ?? 100,
  };
}

function reportError(thrown: unknown, context: CommandContext, command: string): number {
  const error = toAppError(controller.signal.aborted ? controller.signal.reason : thrown);
  const status = statusOfError(error);
  process.stderr.write(`error: ${error.message}\n`);
  if (error.code === 'internal' || context.verbose > 1) process.stderr.write(`${error.stack ?? ''}\n`);
  if (context.json) printEnvelope(context, command, startedAt, status, [], { error: { code: error.code, message: error.message } });
  return status;
}

/** Also `lease renew`: a command below a command would end the process by itself, with a status that is not ours. */
function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

const program = createProgram(async (work) => {
  const context = await createContext(program.opts<GlobalOptions>());
  try {
    process.exitCode = await work(context);
  } catch (thrown) {
    process.exitCode = reportError(thrown, context, program.args[0] ?? '');
  }
});
for (const command of everyCommand(program)) command.exitOverride();

try {
  await program.parseAsync(process.argv);
} catch (thrown) {
  if (!(thrown instanceof CommanderError)) throw thrown;
  process.exitCode = thrown.exitCode === 0 ? 0 : exitStatus.usage;
}
