import pLimit, { type LimitFunction } from 'p-limit';
import type { Connection, VirshAnswer } from '../libvirt/connection.ts';
import { AppError } from '../../shared/errors.ts';
import { parseAnswer } from './parse-answer.ts';
import type * as z from 'zod/mini';
import { emptyAnswer, freezeStatus, fsInfo, guestInfo, osInfo, trimAnswer } from './schema.ts';
import type { FreezeStatus, FsInfo, GuestInfo, OsInfo, TrimAnswer } from './schema.ts';

export interface CallOptions {
  /** libvirt's own timeout for the command, whole seconds; it lets go of the agent lock when it fires. */
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** How long libvirt may need besides the command itself: 30 s for the agent lock, 5 s for its guest-sync, and some air. */
const lockAndSyncMs = 40_000;

/** For questions that an agent answers from memory. */
export const quickTimeoutSeconds = 5;

/**
 * The QEMU guest agent of a connection's domains, through `virsh qemu-agent-command`. One call per domain is in flight at a time.
 * virsh is never killed while libvirt's own timeout still runs: a killed virsh keeps the agent lock for 30 s.
 * All methods throw AppError: `no-channel`, `agent-disconnected`, `agent-silent`, `agent-lock`, `agent-died`, `agent-protocol`,
 * `agent-frozen`, `agent-blocked`, `agent-unsupported`, `agent-error`, `domain-not-running`, and what Connection throws.
 * After `agent-silent` the command may still be running in the guest.
 */
export class AgentClient {
  readonly #connection: Connection;
  readonly #queues = new Map<string, LimitFunction>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async ping(uuid: string, options: CallOptions = { timeoutSeconds: quickTimeoutSeconds }): Promise<void> {
    await this.call(uuid, 'guest-ping', undefined, emptyAnswer, options);
  }

  async info(uuid: string, options: CallOptions = { timeoutSeconds: quickTimeoutSeconds }): Promise<GuestInfo> {
    return this.call(uuid, 'guest-info', undefined, guestInfo, options);
  }

  async osInfo(uuid: string, options: CallOptions = { timeoutSeconds: quickTimeoutSeconds }): Promise<OsInfo> {
    return this.call(uuid, 'guest-get-osinfo', undefined, osInfo, options);
  }

  async fsInfo(uuid: string, options: CallOptions = { timeoutSeconds: quickTimeoutSeconds }): Promise<FsInfo> {
    return this.call(uuid, 'guest-get-fsinfo', undefined, fsInfo, options);
  }

  async freezeStatus(uuid: string, options: CallOptions = { timeoutSeconds: quickTimeoutSeconds }): Promise<FreezeStatus> {
    return this.call(uuid, 'guest-fsfreeze-status', undefined, freezeStatus, options);
  }

  /** @param minimum bytes: free ranges shorter than this are left alone (Windows ignores it). */
  async trim(uuid: string, minimum: number | null, options: CallOptions): Promise<TrimAnswer> {
    return this.call(uuid, 'guest-fstrim', minimum === null ? undefined : { minimum }, trimAnswer, options);
  }

  /** Any command with any schema. `command` is the wire name (QEMU, qga/qapi-schema.json). */
  async call<T extends z.ZodMiniType>(
    uuid: string,
    command: string,
    args: Readonly<Record<string, unknown>> | undefined,
    schema: T,
    options: CallOptions,
  ): Promise<z.infer<T>> {
    return this.#inTurn(uuid, async () => {
      const request = JSON.stringify(args === undefined ? { execute: command } : { execute: command, arguments: args });
      const [answer] = await this.#connection.runAll([['qemu-agent-command', uuid, request, '--timeout', String(options.timeoutSeconds)]], {
        timeoutMs: options.timeoutSeconds * 1000 + lockAndSyncMs,
        signal: options.signal,
        maxBytes: 8 * 1024 * 1024,
      });
      return parseAnswer(command, textOf(answer), schema);
    });
  }

  async #inTurn<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    let queue = this.#queues.get(uuid);
    if (queue === undefined) this.#queues.set(uuid, (queue = pLimit(1)));
    return queue(work);
  }
}

function textOf(answer: VirshAnswer | undefined): string {
  if (answer === undefined) throw new AppError('internal', 'virsh batch without an answer');
  if (!answer.ok) throw answer.error;
  return answer.stdout;
}
