import { randomBytes } from 'node:crypto';
import { AppError } from '../../shared/errors.ts';
import { spawnTool, type RunningTool } from '../process.ts';
import { quoteWord } from './batch.ts';
import { errorFromStderr } from './classify.ts';
import type { Connection, VirshAnswer } from './connection.ts';

/**
 * A virsh that reads its commands from a pipe is interactive: it echoes what it reads through readline, and it writes a history file when
 * it ends, over the administrator's own (seen with 9.0). A cache directory that cannot exist prevents the latter.
 */
const sessionEnvironment = { TERM: 'dumb', XDG_CACHE_HOME: '/dev/null/virt-trim', VIRSH_HISTSIZE: undefined };

const closeMs = 3000;
const maxBytes = 16 * 1024 * 1024;

interface Waiting {
  readonly what: string;
  readonly begin: string;
  readonly end: string;
  readonly settle: (answer: VirshAnswer) => void;
}

/**
 * One virsh process that is connected and waits: a command costs no start of a process, and each answer is read before the next command is
 * sent. That is what a frozen window needs. It ends by itself, after the command in hand, when we die (its stdin closes).
 */
export class VirshSession {
  readonly #child: RunningTool;
  readonly #nonce = randomBytes(6).toString('hex');
  #count = 0;
  #stdout = '';
  #stderr = '';
  #waiting: Waiting | undefined;
  #ended = false;

  private constructor(child: RunningTool) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take('out', text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take('err', text));
    // A virsh that died leaves a broken pipe: its end, below, is what answers then.
    child.stdin?.on('error', () => this.#stderr);
    void child.then(() => this.#end());
  }

  /** Starts virsh; it connects meanwhile, and whether it could is told by the first answer. */
  static open(connection: Connection): VirshSession {
    const child = spawnTool(connection.virsh, connection.arguments(), { env: { ...connection.environment, ...sessionEnvironment } });
    return new VirshSession(child);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether another command can be sent: virsh lives and owes no answer. */
  get usable(): boolean {
    return !this.#ended && this.#waiting === undefined;
  }

  /**
   * Sends one command and waits for its answer. After `connect-timeout` the session is unusable, and the command may still run.
   * Never throws: a dead virsh is an answer as well.
   */
  async run(command: readonly string[], timeoutMs: number): Promise<VirshAnswer> {
    const what = `virsh ${command[0] ?? ''}`;
    if (!this.usable) return { ok: false, error: new AppError('connection-lost', `${what}: the virsh session has ended`) };
    this.#count += 1;
    const word = `${this.#nonce}${this.#count.toString(36)}`;
    const begin = `@b${word}@`;
    const end = `@e${word}@`;
    // The quotes are not in what virsh prints, but are in what readline echoes: only the answer holds the mark.
    const quoted = (mark: string): string => `${mark.slice(0, 2)}'${mark.slice(2)}'`;
    const line = `echo ${quoted(begin)}; ${command.map(quoteWord).join(' ')}; echo ${quoted(end)}; echo --err ${quoted(end)}\n`;
    this.#stdout = '';
    this.#stderr = '';
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        resolve({ ok: false, error: new AppError('connect-timeout', `${what}: no answer within ${Math.round(timeoutMs / 1000)} s`) });
      }, timeoutMs);
      this.#waiting = {
        what,
        begin,
        end,
        settle: (answer) => {
          clearTimeout(late);
          resolve(answer);
        },
      };
      this.#child.stdin?.write(line);
    });
  }

  /** Ends virsh. One that still owes an answer is left to finish its command; it holds up nobody then. */
  async close(): Promise<void> {
    this.#child.stdin?.end();
    this.#child.stdin?.destroy();
    if (this.#waiting === undefined) {
      // Nothing is in hand: one that does not end by itself (a stopped daemon) has nothing to lose.
      const late = setTimeout(() => this.#child.kill('SIGKILL'), closeMs);
      await this.#child;
      clearTimeout(late);
      return;
    }
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#child.unref();
  }

  #take(from: 'out' | 'err', text: string): void {
    if (from === 'out') this.#stdout += text;
    else this.#stderr += text;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    if (this.#stdout.length > maxBytes) {
      this.#settle({ ok: false, error: new AppError('agent-protocol', `${waiting.what}: more output than is allowed; given up`) });
      return;
    }
    const error = this.#stderr.indexOf(`error: ${waiting.end}`);
    const begin = this.#stdout.indexOf(waiting.begin);
    const end = this.#stdout.indexOf(waiting.end, Math.max(begin, 0));
    if (error === -1 || begin === -1 || end === -1) return;
    const complaint = this.#stderr.slice(0, error);
    const stdout = this.#stdout.slice(begin + waiting.begin.length, end).replace(/^\n/, '');
    if (/^error: /m.test(complaint)) this.#settle({ ok: false, error: errorFromStderr(complaint, waiting.what) });
    else this.#settle({ ok: true, stdout });
  }

  #settle(answer: VirshAnswer): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.settle(answer);
  }

  #end(): void {
    this.#ended = true;
    const { what } = this.#waiting ?? { what: 'virsh' };
    const said = /^error: /m.test(this.#stderr);
    this.#settle({
      ok: false,
      error: said ? errorFromStderr(this.#stderr, what) : new AppError('connection-lost', `${what}: virsh ended before it had answered`),
    });
  }
}
