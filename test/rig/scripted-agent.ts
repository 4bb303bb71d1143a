import { createConnection, type Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../shared/errors.ts';
import type { Guest } from '../../host/demo/guest.ts';

/** What the agent does about one command, beyond returning a value. */
type Behaviour =
  | { readonly does: 'return'; readonly value: unknown }
  | { readonly does: 'error'; readonly class: string; readonly desc: string }
  | { readonly does: 'raw'; readonly bytes: Buffer }
  | { readonly does: 'wait'; readonly ms: number; readonly reply: unknown }
  | { readonly does: 'drop' }
  | { readonly does: 'hang' }
  | { readonly does: 'die'; readonly restartAfterMs: number | null };

class Scripted {
  readonly behaviour: Behaviour;

  constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
  }
}

/** Answers that a plain return value cannot express. */
export const answer = {
  /** An error reply; class GenericError unless given. */
  error: (desc: string, errorClass = 'GenericError') => new Scripted({ does: 'error', class: errorClass, desc }),
  /** These bytes as they are, without a newline of ours. */
  raw: (bytes: string | Buffer) => new Scripted({ does: 'raw', bytes: Buffer.from(bytes) }),
  /** Busy for so long, then the answer; later commands queue up behind it, as with a real agent. */
  after: (ms: number, reply: unknown = {}) => new Scripted({ does: 'wait', ms, reply }),
  /** No answer to this one; later commands are answered. */
  drop: () => new Scripted({ does: 'drop' }),
  /** No answer to this one nor to any later one: the agent hangs, its port stays open. */
  hang: () => new Scripted({ does: 'hang' }),
  /** The agent dies: its port closes. With a time it is started again after that. */
  die: (restartAfterMs: number | null = null) => new Scripted({ does: 'die', restartAfterMs }),
} as const;

export type CommandArguments = Readonly<Record<string, unknown>>;
/** Returns the value for `return`, or one of `answer`. */
export type CommandScript = (args: CommandArguments) => unknown;
/** By the command's wire name; `*` answers what has no script of its own, guest-sync and guest-ping included. */
export type AgentScript = Readonly<Record<string, CommandScript>>;

export interface ReceivedCommand {
  readonly command: string;
  readonly arguments: CommandArguments;
  /** performance.now() */
  readonly atMs: number;
}

/**
 * Plays the guest's agent from the test: real virsh and libvirtd talk through a real QEMU and a real guest's port to it.
 * Commands that are not scripted answer CommandNotFound, as qemu-ga does; guest-sync and guest-ping always work unless scripted.
 */
export class ScriptedAgent implements Disposable {
  readonly received: ReceivedCommand[] = [];
  readonly #script: AgentScript;
  readonly #guest: Guest;
  #socket: Socket | undefined;
  #queue: Promise<void> = Promise.resolve();
  #hung = false;
  #detached = false;

  constructor(guest: Guest, script: AgentScript) {
    this.#guest = guest;
    this.#script = script;
  }

  /** How often a command came. */
  count(command: string): number {
    return this.received.filter((one) => one.command === command).length;
  }

  /** Listens on the guest's relay; call it when QEMU runs. It connects again by itself when the guest is started anew. */
  async attach(): Promise<void> {
    this.#detached = false;
    const socket = createConnection(this.#guest.agentSocket);
    socket.unref();
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    this.#socket = socket;
    const decoder = new StringDecoder('latin1');
    let pending = '';
    socket.on('data', (chunk: Buffer) => {
      pending += decoder.write(chunk);
      const lines = pending.split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) this.#receive(Buffer.from(line, 'latin1').toString());
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => void this.#reconnect());
  }

  [Symbol.dispose](): void {
    this.#detached = true;
    this.#socket?.destroy();
  }

  async #reconnect(): Promise<void> {
    while (!this.#detached) {
      await sleep(200, undefined, { ref: false });
      try {
        if (!this.#detached) await this.attach();
        return;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
      }
    }
  }

  #receive(line: string): void {
    if (line.trim() === '') return;
    this.#queue = this.#queue.then(() => this.#execute(line));
  }

  async #execute(line: string): Promise<void> {
    let request: { execute: string; arguments?: CommandArguments };
    try {
      // 0xFF resets a parser (guest-sync-delimited); what stands before it was cut off.
      request = JSON.parse(line.slice(line.lastIndexOf('\uFFFD') + 1)) as typeof request;
    } catch (error) {
      this.#send({ error: { class: 'GenericError', desc: `JSON parse error, ${String(error)}` } });
      return;
    }
    const args = request.arguments ?? {};
    this.received.push({ command: request.execute, arguments: args, atMs: performance.now() });
    if (this.#hung) return;
    const script = this.#script[request.execute] ?? this.#script['*'];
    if (script !== undefined) await this.#perform(await script(args));
    // The id is an int64: echoed as it was written, never through a number.
    else if (request.execute === 'guest-sync') this.#socket?.write(`{"return": ${/"id"\s*:\s*(-?\d+)/.exec(line)?.[1] ?? 'null'}}\n`);
    else if (request.execute === 'guest-ping') this.#send({ return: {} });
    else await this.#perform(answer.error(`The command ${request.execute} has not been found`, 'CommandNotFound'));
  }

  async #perform(value: unknown): Promise<void> {
    const behaviour: Behaviour = value instanceof Scripted ? value.behaviour : { does: 'return', value };
    switch (behaviour.does) {
      case 'return':
        return this.#send({ return: behaviour.value });
      case 'error':
        return this.#send({ error: { class: behaviour.class, desc: behaviour.desc } });
      case 'raw':
        this.#socket?.write(behaviour.bytes);
        return;
      case 'wait':
        await sleep(behaviour.ms, undefined, { ref: false });
        return this.#perform(behaviour.reply);
      case 'drop':
        return;
      case 'hang':
        this.#hung = true;
        return;
      case 'die':
        await this.#guest.run('/rig/agent stop');
        if (behaviour.restartAfterMs === null) return;
        await sleep(behaviour.restartAfterMs, undefined, { ref: false });
        await this.#startAgain();
    }
  }

  async #startAgain(): Promise<void> {
    try {
      await this.#guest.run('/rig/agent start');
    } catch (error) {
      // The guest was powered off meanwhile: then there is nobody to start.
      if (!(error instanceof AppError && error.code === 'io')) throw error;
    }
  }

  #send(reply: object): void {
    // As qemu-ga does: one line of ASCII.
    const text = JSON.stringify(reply).replaceAll(/[\u0080-\uFFFF]/g, (char) => `\\u${char.codePointAt(0)!.toString(16).padStart(4, '0')}`);
    this.#socket?.write(`${text}\n`);
  }
}
