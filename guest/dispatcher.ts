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

interface Known {
  readonly command: Command;
  /** By the administrator. */
  readonly blocked: boolean;
}

interface Request {
  readonly known: Known;
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
  private readonly commands = new Map<string, Known>();
  private readonly context: CommandContext;
  private readonly reader: MessageReader;
  private job: { readonly handle: Job; wanted: boolean } | undefined;
  private waiting: Request[] = [];
  private delimited = false;

  constructor(settings: DispatcherSettings) {
    this.settings = settings;
    for (const command of settings.commands) this.commands.set(command.name, { command, blocked: settings.isBlocked(command.name) });
    this.context = {
      ...settings.context,
      listCommands: () =>
        [...this.commands.values()].map((known) => ({ name: known.command.name, enabled: this.whyDisabled(known) === undefined })),
      delimitAnswer: () => {
        this.delimited = true;
      },
    };
    this.reader = new MessageReader((message) => this.take(message));
  }

  /** `plain`: only printable ASCII and newlines, which the reader has less work with. */
  feed(bytes: string, plain = false): void {
    // A client that left in the middle of a request and one that came at once are the same to a port: no request has another in it.
    if (this.reader.isPartial && bytes.startsWith('{"execute"')) this.clientLeft();
    this.reader.feed(bytes, plain);
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
      const known = this.findCommand(value);
      if (known.command.resynchronises === true) this.giveUp();
      if (this.job !== undefined && known.command.besideJob !== true) this.wait({ known, envelope: value });
      else this.execute(known, value);
    } catch (thrown) {
      this.answerError(thrown, value.get('id'));
    }
  }

  /** @throws QgaError in the words of QEMU's qmp-dispatch.c */
  private findCommand(envelope: JsonMap): Known {
    const name = envelope.get('execute');
    const args = envelope.get('arguments');
    if (name !== undefined && typeof name !== 'string') throw new QgaError(`QMP input member 'execute' must be a string`);
    if (args !== undefined && !isObject(args)) throw new QgaError(`QMP input member 'arguments' must be an object`);
    const expected = (name === undefined ? 0 : 1) + (args === undefined ? 0 : 1) + (envelope.has('id') ? 1 : 0);
    if (envelope.size > expected) throw new QgaError(`QMP input member '${findUnknownMember(envelope)}' is unexpected`);
    if (name === undefined) throw new QgaError(`QMP input lacks member 'execute'`);
    const known = this.commands.get(name);
    if (known === undefined) throw new QgaError(`The command ${name} has not been found`, 'CommandNotFound');
    return known;
  }

  /** Why a command may not be called just now, in qemu-ga 7.2's words; '' where it gives no reason. */
  private whyDisabled({ command, blocked }: Known): string | undefined {
    if (blocked) return '';
    if (command.whileFrozen === true || this.settings.context.freezer.status === 'thawed') return undefined;
    return ': the agent is in frozen state';
  }

  private execute(known: Known, envelope: JsonMap): void {
    const { command } = known;
    const why = this.whyDisabled(known);
    if (why !== undefined) throw new QgaError(`Command ${command.name} has been disabled${why}`, 'CommandNotFound');
    const given = envelope.get('arguments');
    const args = checkArguments(command.parameters, given === undefined ? undefined : (given as JsonMap));
    if (command.start === undefined) this.answer('return', command.run?.(this.context, args), envelope.get('id'));
    else this.startJob(envelope, command.start, args);
  }

  private startJob(envelope: JsonMap, start: NonNullable<Command['start']>, args: Parameters<typeof start>[1]): void {
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
        this.execute(request.known, request.envelope);
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
    const text = value === undefined ? '{}' : writeJson(value as Json);
    const echo = id === undefined ? '' : `, "id": ${writeJson(id)}`;
    this.settings.send(`${sentinel}{"${kind}": ${text}${echo}}\n`);
  }
}

function findUnknownMember(envelope: JsonMap): string {
  for (const key of envelope.keys()) if (key !== 'execute' && key !== 'arguments' && key !== 'id') return key;
  return '';
}

/** Out of memory is thrown as `null` by the engine. */
function describeUnforeseen(thrown: unknown): string {
  if (thrown === null) return 'out of memory';
  return thrown instanceof Error ? `internal error: ${thrown.message}` : 'internal error';
}
