import { closeSync, openSync } from 'node:fs';
import { execa, type Options, type ResultPromise } from 'execa';
import { AppError } from '../shared/errors.ts';

/** What a finished child left behind. `exitCode` is null when a signal ended it. */
export interface ToolResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Our own deadline ended it. */
  readonly timedOut: boolean;
  /** It printed more than `maxBytes` and was killed for it. */
  readonly overflowed: boolean;
  readonly durationMs: number;
}

export interface ToolOptions {
  /** Deadline outside the child: SIGTERM then, SIGKILL a second later, to its whole process group. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly input?: string | undefined;
  /** Added to our own environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly cwd?: string | undefined;
  readonly maxBytes?: number | undefined;
}

const defaultMaxBytes = 64 * 1024 * 1024;
const killGraceMs = 1000;

/** Every child runs in a session of its own: a Ctrl-C at our terminal reaches us, and we decide what it means for the child. */
const ownSession = { detached: true, cleanup: false } as const;

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function missing(file: string, cause: unknown): AppError {
  return new AppError(
    file.endsWith('virsh') ? 'virsh-missing' : 'tool-missing',
    `${file}: program not found; install it or put it on PATH`,
    {
      cause,
      context: { program: file },
    },
  );
}

/**
 * Runs a program to its end with an argument list, never a shell. A non-zero status is a result, not an exception.
 * @throws AppError `tool-missing`/`virsh-missing` where the program does not exist, `interrupted` where `signal` fired.
 */
export async function runTool(file: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
  const startedAt = performance.now();
  let timedOut = false;
  const settings: Options = {
    ...ownSession,
    reject: false,
    stripFinalNewline: false,
    extendEnv: true,
    env: options.env as Record<string, string>,
    maxBuffer: options.maxBytes ?? defaultMaxBytes,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
  };
  if (options.signal?.aborted) throw new AppError('interrupted', `${file}: not started, interrupted`, { cause: options.signal.reason });
  const child = execa(file, args, settings);
  let grace: NodeJS.Timeout | undefined;
  const stop = (): void => {
    killGroup(child.pid, 'SIGTERM');
    grace = setTimeout(() => {
      killGroup(child.pid, 'SIGKILL');
      // A process that left the group (an ssh that stays as master, say) can hold the pipes open for as long as it likes.
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, killGraceMs);
  };
  const deadline = setTimeout(() => {
    timedOut = true;
    stop();
  }, options.timeoutMs);
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    const result = await child;
    const code = (result as { code?: string }).code;
    if (result.failed && (code === 'ENOENT' || code === 'EACCES')) throw missing(file, result);
    if (options.signal?.aborted && result.failed)
      throw new AppError('interrupted', `${file}: interrupted`, { cause: options.signal.reason });
    const overflowed = 'isMaxBuffer' in result && result.isMaxBuffer;
    if (overflowed) killGroup(child.pid, 'SIGKILL');
    return {
      stdout: String(result.stdout ?? ''),
      stderr: String(result.stderr ?? ''),
      exitCode: result.exitCode ?? null,
      signal: result.signal ?? null,
      timedOut,
      overflowed,
      durationMs: performance.now() - startedAt,
    };
  } finally {
    clearTimeout(deadline);
    clearTimeout(grace);
    options.signal?.removeEventListener('abort', stop);
  }
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly cwd?: string | undefined;
  /** Where its streams go; files are appended to. Default: `pipe` for all three. */
  readonly stdio?: readonly ['pipe' | 'ignore', 'pipe' | 'ignore' | { file: string }, 'pipe' | 'ignore' | { file: string }] | undefined;
}

/** A running child; `await` gives its end (never rejects), `pid` is also its process group and session. */
export type RunningTool = ResultPromise<{ reject: false; buffer: false }>;

/**
 * Starts a program that outlives the call, in its own session. Output is streamed, not collected.
 * It is not killed when we exit: that is the point of the guard.
 * @throws AppError `tool-missing`/`virsh-missing`.
 */
export function spawnTool(file: string, args: readonly string[], options: SpawnOptions = {}): RunningTool {
  const [stdin, stdout, stderr] = options.stdio ?? ['pipe', 'pipe', 'pipe'];
  // A descriptor of the file itself: execa's own `{ file }` is a pipe to us, which would keep us alive and end with us.
  const opened: number[] = [];
  const target = (to: typeof stdout): 'pipe' | 'ignore' | number => {
    if (typeof to === 'string') return to;
    const descriptor = openSync(to.file, 'a', 0o600);
    opened.push(descriptor);
    return descriptor;
  };
  const child = execa(file, args, {
    ...ownSession,
    reject: false,
    buffer: false,
    extendEnv: true,
    env: options.env as Record<string, string>,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin,
    stdout: target(stdout),
    stderr: target(stderr),
  } as { reject: false; buffer: false }) as RunningTool;
  for (const descriptor of opened) closeSync(descriptor);
  return child;
}

/** Runs the administrator's own command in our terminal's foreground (`quiesce -- COMMAND`): shares our streams and our session. */
export async function runForeground(
  file: string,
  args: readonly string[],
  options: {
    readonly env: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
    /** `stderr`: what it prints goes there, because our stdout is one JSON document. */
    readonly stdout?: 'inherit' | 'stderr';
  },
): Promise<{ exitCode: number | null; signal: string | null }> {
  const result = await execa(file, args, {
    reject: false,
    stdio: ['inherit', options.stdout === 'stderr' ? 2 : 'inherit', 'inherit'],
    extendEnv: true,
    env: options.env,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal, gracefulCancel: false, forceKillAfterDelay: 5000 }),
  });
  const code = (result as { code?: string }).code;
  if (code === 'ENOENT' || code === 'EACCES') throw missing(file, result);
  return { exitCode: result.exitCode ?? null, signal: result.signal ?? null };
}
