import { checkArguments, isObject } from './arguments.ts';
import type { Command, CommandContext, Job } from './command.ts';
import { MessageReader } from './json/reader.ts';
import type { Message } from './json/reader.ts';
import type { Json, JsonMap } from './json/value.ts';
import { writeJson } from './json/write.ts';
import { QgaError } from './qga-error.ts';

export interface DispatcherSettings {
  readonly commands: readonly Command[];
  readonly isBlocked: (name: string) => boolean;
  /** Everything a command needs but what the dispatcher itself provides. */
  readonly context: Omit<CommandContext, 'listCommands' | 'delimitAnswer'>;
  /** One whole answer, its newline included. */
  readonly send: (bytes: string) => void;
}

interface Request {
  readonly command: Command;
  readonly envelope: JsonMap;
}

/** Requests that wait for a freeze or trim to end. A host waits for its answers, so there is hardly ever one. */
const maxWaiting = 64;

/**
 * From bytes to answers. Requests are answered in their order, but for those that are answered beside a running freeze or trim.
 * Invariant: at most one job runs; while it does, its answer belongs to whoever asked for it or, after they gave up, to nobody.
 */
export class Dispatcher {
  private readonly settings: DispatcherSettings;
  private readonly commands = new Map<string, Command>();
  private readonly context: CommandContext;
  private readonly reader: MessageReader;
  private job: { readonly handle: Job; wanted: boolean } | undefined;
  private waiting: Request[] = [];
  private delimited = false;

  constructor(settings: DispatcherSettings) {
    this.settings = settings;
    for (const command of settings.commands) this.commands.set(command.name, command);
    this.context = {
      ...settings.context,
      listCommands: () => settings.commands.map((command) => ({ name: command.name, enabled: this.whyDisabled(command) === undefined })),
      delimitAnswer: () => {
        this.delimited = true;
      },
    };
    this.reader = new MessageReader((message) => this.take(message));
  }

  feed(bytes: string): void {
    this.reader.feed(bytes);
  }

  /** The client has left: what it wrote by halves is forgotten, what it still waited for is nobody's. */
  clientLeft(): void {
    this.reader.reset();
    this.giveUp();
  }

  private take(message: Message): void {
    if ('error' in message) {
      this.answerError(new QgaError(message.error), undefined);
      return;
    }
    const { value } = message;
    if (!isObject(value)) {
      this.answerError(new QgaError('QMP input must be a JSON object'), undefined);
      return;
    }
    try {
      const command = this.findCommand(value);
      if (command.resynchronises === true) this.giveUp();
      if (this.job !== undefined && command.besideJob !== true) this.wait({ command, envelope: value });
      else this.execute({ command, envelope: value });
    } catch (thrown) {
      this.answerError(thrown, value.get('id'));
    }
  }

  /** @throws QgaError in the words of QEMU's qmp-dispatch.c */
  private findCommand(envelope: JsonMap): Command {
    for (const [key, value] of envelope) {
      if (key === 'execute') {
        if (typeof value !== 'string') throw new QgaError(`QMP input member 'execute' must be a string`);
      } else if (key === 'arguments') {
        if (!isObject(value)) throw new QgaError(`QMP input member 'arguments' must be an object`);
      } else if (key !== 'id') {
        throw new QgaError(`QMP input member '${key}' is unexpected`);
      }
    }
    const name = envelope.get('execute');
    if (typeof name !== 'string') throw new QgaError(`QMP input lacks member 'execute'`);
    const command = this.commands.get(name);
    if (command === undefined) throw new QgaError(`The command ${name} has not been found`, 'CommandNotFound');
    return command;
  }

  /** Why a command may not be called just now, in qemu-ga 7.2's words; '' where it gives no reason. */
  private whyDisabled(command: Command): string | undefined {
    if (this.settings.isBlocked(command.name)) return '';
    const frozen = this.settings.context.freezer.status === 'frozen' && command.whileFrozen !== true;
    return frozen ? ': the agent is in frozen state' : undefined;
  }

  private execute({ command, envelope }: Request): void {
    const id = envelope.get('id');
    const why = this.whyDisabled(command);
    if (why !== undefined) throw new QgaError(`Command ${command.name} has been disabled${why}`, 'CommandNotFound');
    const given = envelope.get('arguments');
    const args = checkArguments(command.parameters ?? [], isObject(given ?? null) ? (given as JsonMap) : undefined);
    if (command.start === undefined) {
      const value = command.run?.(this.context, args);
      this.answer('return', value ?? {}, id);
      return;
    }
    this.startJob({ command, envelope }, command.start, args);
  }

  private startJob({ envelope }: Request, start: NonNullable<Command['start']>, args: Parameters<typeof start>[1]): void {
    const id = envelope.get('id');
    let ended = false;
    const job: { handle: Job; wanted: boolean } = { handle: { abandon: () => undefined, makeWay: () => undefined }, wanted: true };
    const handle = start(this.context, args, (outcome) => {
      ended = true;
      if (this.job === job) this.job = undefined;
      if (job.wanted && 'value' in outcome) this.answer('return', outcome.value, id);
      else if (job.wanted && 'error' in outcome) this.answerError(new QgaError(outcome.error), id);
      this.runWaiting();
    });
    job.handle = handle;
    if (!ended) this.job = job;
  }

  private wait(request: Request): void {
    if (this.waiting.length >= maxWaiting) throw new QgaError('too many requests wait for a freeze or trim to end');
    this.waiting.push(request);
    this.job?.handle.makeWay();
  }

  private runWaiting(): void {
    while (this.job === undefined) {
      const request = this.waiting.shift();
      if (request === undefined) return;
      try {
        this.execute(request);
      } catch (thrown) {
        this.answerError(thrown, request.envelope.get('id'));
      }
    }
  }

  private giveUp(): void {
    this.waiting = [];
    if (this.job === undefined || !this.job.wanted) return;
    this.job.wanted = false;
    this.job.handle.abandon();
  }

  private answerError(thrown: unknown, id: Json | undefined): void {
    const error = thrown instanceof QgaError ? thrown : new QgaError(describeUnforeseen(thrown));
    this.answer('error', { class: error.errorClass, desc: error.message }, id);
  }

  private answer(kind: 'return' | 'error', value: unknown, id: Json | undefined): void {
    const sentinel = this.delimited && kind === 'return' ? '\xff' : '';
    this.delimited = false;
    const echo = id === undefined ? '' : `, "id": ${writeJson(id)}`;
    this.settings.send(`${sentinel}{"${kind}": ${writeJson(value as Json)}${echo}}\n`);
  }
}

/** Out of memory is thrown as `null` by the engine. */
function describeUnforeseen(thrown: unknown): string {
  if (thrown === null) return 'out of memory';
  return thrown instanceof Error ? `internal error: ${thrown.message}` : 'internal error';
}
