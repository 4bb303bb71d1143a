import { spawnSync } from 'node:child_process';

/** A program of the build that failed: which, and what it said. */
export class BuildError extends Error {}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The only place of the guest's folder that starts processes, and only the build imports it. Returns stdout. @throws BuildError */
export function run(program: string, args: readonly string[], options: RunOptions = {}): string {
  const result = spawnSync(program, args, {
    cwd: options.cwd,
    // The locale and the clock must not show in what is built.
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC', SOURCE_DATE_EPOCH: '0', ...options.env },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.error !== undefined) throw new BuildError(`${program}: ${result.error.message}`, { cause: result.error });
  if (result.status !== 0) {
    throw new BuildError(`${program} ${args.join(' ')}\nended with ${result.status ?? result.signal}:\n${result.stderr.slice(-4000)}`);
  }
  return result.stdout;
}
