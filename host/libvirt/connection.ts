import { randomBytes } from 'node:crypto';
import { AppError } from '../../shared/errors.ts';
import { runTool, type ToolResult } from '../process.ts';
import { composeBatches, splitBatch } from './batch.ts';
import { errorFromStderr } from './classify.ts';
import { parseUri, type ConnectionUri } from './uri.ts';

/** One command's answer: its stdout, or why there is none. */
export type VirshAnswer = { readonly ok: true; readonly stdout: string } | { readonly ok: false; readonly error: AppError };

export interface RunOptions {
  /** Deadline around the whole virsh process. Default 10 s: a hung daemon or host is given up and named. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly maxBytes?: number | undefined;
}

export const connectTimeoutMs = 10_000;

/** virsh reads these and would mix its debug output into ours (virsh(1), ENVIRONMENT). */
const virshEnvironment = { LC_ALL: 'C', LANGUAGE: undefined, VIRSH_DEBUG: undefined, VIRSH_LOG_FILE: undefined, LIBVIRT_DEBUG: undefined };

/** The way to one libvirt daemon. Every call is one virsh process; nothing is kept open between calls. */
export class Connection {
  readonly uri: ConnectionUri;
  readonly virsh: string;

  /** @param uri as for `virsh -c`; '' takes LIBVIRT_DEFAULT_URI or libvirt's default. */
  constructor(uri: string, virsh: string = process.env['VIRT_TRIM_VIRSH'] ?? 'virsh') {
    this.uri = parseUri(uri === '' ? (process.env['LIBVIRT_DEFAULT_URI'] ?? '') : uri);
    this.virsh = virsh;
  }

  /** The URI as an administrator would write it in a command of their own. */
  get name(): string {
    return this.uri.text === '' ? "libvirt's default connection" : this.uri.text;
  }

  /** `virsh -q -c URI` and what stands behind it, as an argument list. */
  arguments(...rest: string[]): string[] {
    return ['-q', '-k', '0', ...(this.uri.text === '' ? [] : ['-c', this.uri.text]), ...rest];
  }

  /** The environment every virsh of ours gets, also one that others start (the guard, a frozen batch). */
  get environment(): Readonly<Record<string, string | undefined>> {
    return virshEnvironment;
  }

  /**
   * Runs commands in one virsh process (more only where the text outgrows one argument) and attributes each answer.
   * A command's own failure is its answer; the connection's failure is thrown.
   * @throws AppError `connect-failed`, `connect-timeout`, `connection-lost`, `permission-denied`, `virsh-missing`, `interrupted`.
   */
  async runAll(commands: readonly (readonly string[])[], options: RunOptions = {}): Promise<VirshAnswer[]> {
    const nonce = randomBytes(6).toString('base64url').replaceAll(/[-_]/g, 'x');
    const answers: VirshAnswer[] = [];
    for (const batch of composeBatches(commands, nonce)) {
      const result = await this.#spawn([batch.text], options);
      const parts = splitBatch(result.stdout, result.stderr, nonce, batch.first, batch.count);
      if (parts[0]?.reached !== true) throw this.#connectionError(result);
      for (const [offset, part] of parts.entries()) answers.push(this.#answer(commands[batch.first + offset] ?? [], part, result));
    }
    return answers;
  }

  /** Runs one command. @throws AppError whatever went wrong. */
  async run(command: readonly string[], options: RunOptions = {}): Promise<string> {
    const [answer] = await this.runAll([command], options);
    if (answer === undefined) throw new AppError('internal', 'virsh batch without an answer');
    if (!answer.ok) throw answer.error;
    return answer.stdout;
  }

  async #spawn(args: string[], options: RunOptions): Promise<ToolResult> {
    return runTool(this.virsh, this.arguments(...args), {
      timeoutMs: options.timeoutMs ?? connectTimeoutMs,
      signal: options.signal,
      maxBytes: options.maxBytes,
      env: virshEnvironment,
    });
  }

  #answer(command: readonly string[], part: { stdout: string; stderr: string; reached: boolean }, result: ToolResult): VirshAnswer {
    const what = `virsh ${command[0] ?? ''}`;
    if (part.reached) {
      if (/^error: /m.test(part.stderr)) return { ok: false, error: errorFromStderr(part.stderr, what) };
      return { ok: true, stdout: part.stdout };
    }
    return { ok: false, error: this.#unreachedError(what, part.stderr, result) };
  }

  #unreachedError(what: string, stderr: string, result: ToolResult): AppError {
    const context = { uri: this.name };
    if (result.overflowed) return new AppError('agent-protocol', `${what}: more output than is allowed; given up`, { context });
    if (result.timedOut) {
      const seconds = Math.round(result.durationMs / 1000);
      return new AppError(
        'connect-timeout',
        `${what}: no answer from ${this.name} within ${seconds} s; is libvirtd hung or the host unreachable?`,
        {
          context,
        },
      );
    }
    if (/^error: /m.test(stderr)) return errorFromStderr(stderr, what);
    return new AppError('connection-lost', `${what}: virsh ended before it had answered (${this.name})`, { context });
  }

  #connectionError(result: ToolResult): AppError {
    const error = this.#unreachedError('virsh', result.stderr, result);
    if (error.code !== 'connect-failed') return error;
    return new AppError(
      'connect-failed',
      `cannot connect to ${this.name}: ${error.context['stderr'] ?? error.message}; is libvirtd running there?`,
      {
        cause: error,
        context: { uri: this.name },
      },
    );
  }
}
