import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa, type ResultPromise } from 'execa';
import { inject } from 'vitest';

export interface CliResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

interface CliOptions {
  readonly reject: false;
  readonly stdin: 'ignore';
}

/** The built program as its users run it, with a state directory of its own. */
export class Cli implements AsyncDisposable {
  readonly uri: string;
  readonly stateDirectory: string;
  readonly env: Readonly<Record<string, string | undefined>>;

  private constructor(uri: string, stateDirectory: string, env: Readonly<Record<string, string | undefined>>) {
    this.uri = uri;
    this.stateDirectory = stateDirectory;
    this.env = { LIBVIRT_DEFAULT_URI: undefined, VIRT_TRIM_STATE_DIR: stateDirectory, ...env };
  }

  /** @param uri given as `-c` before every command; '' gives none. */
  static async create(uri: string, env: Readonly<Record<string, string | undefined>> = {}): Promise<Cli> {
    return new Cli(uri, await mkdtemp(path.join(tmpdir(), 'virt-trim-state-')), env);
  }

  get file(): string {
    return inject('mainFile');
  }

  /** Starts it and gives the running child; its end never rejects. */
  start(...args: readonly string[]): ResultPromise<CliOptions> {
    const connect = this.uri === '' ? [] : ['-c', this.uri];
    return execa(process.execPath, [this.file, ...connect, ...args], {
      reject: false,
      env: this.env as Record<string, string>,
      stdin: 'ignore',
      forceKillAfterDelay: false, // what it does with a SIGTERM is its own affair, however long it takes
    } as CliOptions);
  }

  async run(...args: readonly string[]): Promise<CliResult> {
    const startedAt = performance.now();
    const { exitCode, stdout, stderr } = await this.start(...args);
    return { exitCode, stdout, stderr, durationMs: performance.now() - startedAt };
  }

  /** Runs with `--json` and reads what it printed. */
  async json(...args: readonly string[]): Promise<{ result: CliResult; envelope: Record<string, unknown> & { domains: unknown[] } }> {
    const result = await this.run('--json', ...args);
    return { result, envelope: JSON.parse(result.stdout) as Record<string, unknown> & { domains: unknown[] } };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.stateDirectory, { recursive: true, force: true });
  }
}
