import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { spawnTool, type RunningTool } from '../process.ts';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';

/** guestfish(1), QUOTING ARGUMENTS: double quotes with C-like escapes. */
export function quoteArgument(word: string): string {
  if (/[\u0000-\u001f\u007f]/.test(word)) throw new AppError('internal', 'a control character in a guestfish argument');
  return `"${word.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/**
 * libguestfs' own defaults ask for KVM wherever /dev/kvm exists. What the administrator has set wins; `direct` lets our own user's QEMU
 * open the overlay, wherever it lies (guestfs(3), BACKEND).
 */
export function guestfishEnvironment(env: NodeJS.ProcessEnv, emulated: boolean): Record<string, string> {
  const force = emulated || !existsSync('/dev/kvm');
  return {
    LC_ALL: 'C',
    LIBGUESTFS_BACKEND: env['LIBGUESTFS_BACKEND'] ?? 'direct',
    ...(env['LIBGUESTFS_BACKEND_SETTINGS'] === undefined && force ? { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' } : {}),
  };
}

const maxOutput = 4 * 1024 * 1024;

interface Waiting {
  readonly command: string;
  readonly mark: string;
  readonly settle: (outcome: string | AppError) => void;
}

/**
 * One guestfish that reads commands from a pipe. It ends at the first command that fails, and when we die: then its pipe closes, and
 * with it libguestfs' appliance goes and lets go of the images.
 */
export class Guestfish implements AsyncDisposable {
  readonly #child: RunningTool;
  readonly #signal: AbortSignal;
  #stdout = '';
  #stderr = '';
  #waiting: Waiting | undefined;
  #ended = false;

  private constructor(child: RunningTool, signal: AbortSignal) {
    this.#child = child;
    this.#signal = signal;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (this.#stderr.length < maxOutput) this.#stderr += text;
    });
    child.stdin?.on('error', () => this.#stderr); // it has ended: its end is what answers
    void child.then(() => this.#end());
    signal.addEventListener('abort', this.#kill, { once: true });
  }

  static open(program: string, env: Readonly<Record<string, string>>, signal: AbortSignal): Guestfish {
    return new Guestfish(spawnTool(program, ['--no-progress-bars'], { env }), signal);
  }

  /** Runs one command, by an argument list. @throws AppError `tool-failed` with libguestfs' words, `tool-timeout`, `interrupted`. */
  async run(timeoutMs: number, command: string, ...args: readonly string[]): Promise<string> {
    if (this.#ended) throw this.#failure(command);
    const mark = `@${randomBytes(8).toString('hex')}@`;
    this.#stdout = '';
    const answer = new Promise<string | AppError>((resolve) => {
      const late = setTimeout(() => {
        this.#kill();
        resolve(new AppError('tool-timeout', `libguestfs: ${command} did not end within ${Math.round(timeoutMs / 1000)} s`));
      }, timeoutMs);
      this.#waiting = {
        command,
        mark,
        settle: (outcome) => {
          clearTimeout(late);
          resolve(outcome);
        },
      };
    });
    this.#child.stdin?.write(`${[command, ...args.map(quoteArgument)].join(' ')}\necho ${mark}\n`);
    const outcome = await answer;
    if (outcome instanceof AppError) throw outcome;
    return outcome;
  }

  /** Ends it orderly: everything is written back before it returns. @throws AppError where the last writes failed. */
  async close(): Promise<void> {
    await this.run(60_000, 'umount-all');
    await this.run(60_000, 'shutdown');
    this.#child.stdin?.end();
    await this.#child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#kill);
    this.#child.stdin?.end();
    if (!this.#ended) this.#kill();
    await this.#child;
  }

  /** The appliance is a child of guestfish's recovery process; all of them are in the group. */
  #kill = (): void => {
    const { pid } = this.#child;
    if (pid === undefined || this.#ended) return;
    try {
      process.kill(-pid, 'SIGTERM');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };

  #take(text: string): void {
    if (this.#stdout.length < maxOutput) this.#stdout += text;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const at = this.#stdout.indexOf(waiting.mark);
    if (at === -1) return;
    this.#waiting = undefined;
    waiting.settle(this.#stdout.slice(0, at));
  }

  #failure(command: string): AppError {
    if (this.#signal.aborted) return new AppError('interrupted', 'libguestfs: interrupted', { cause: this.#signal.reason });
    const lines = this.#stderr.split('\n').filter((line) => /error:/.test(line));
    const words = cleanText((lines.length === 0 ? this.#stderr : lines.slice(-3).join('; ')).trim(), 500);
    return new AppError('tool-failed', `libguestfs: ${command}: ${words === '' ? 'guestfish ended without a word' : words}`);
  }

  #end(): void {
    this.#ended = true;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.settle(this.#failure(waiting.command));
  }
}
