import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';

/** The figures of one bench: a title and a Markdown table. */
export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What was compared with what, and which bar of the design it stands for. */
  readonly note: string;
}

export function toMarkdown({ title, head, rows, note }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return `## ${title}\n\n${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n\n${note}\n`;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export const milliseconds = (value: number): string => `${Math.round(value)} ms`;
export const ratio = (value: number, of: number): string => `${(value / of).toFixed(2)} ×`;
export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A temporary folder with the bundled program, and programs that watch it. */
export class Workplace implements AsyncDisposable {
  readonly directory: string;
  readonly main: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.main = path.join(directory, 'dist', 'main.js');
  }

  static async create(): Promise<Workplace> {
    const workplace = new Workplace(await mkdtemp(path.join(tmpdir(), 'virt-trim-bench-')));
    await execa('npm', ['run', '--silent', 'build'], { env: { VIRT_TRIM_DIST: path.dirname(workplace.main) } });
    await writeFile(
      workplace.path('peak.mjs'),
      "import { writeFileSync } from 'node:fs';\nprocess.on('exit', () => writeFileSync(process.env.BENCH_PEAK, String(process.resourceUsage().maxRSS)));\n",
    );
    return workplace;
  }

  path(name: string): string {
    return path.join(this.directory, name);
  }

  /** A virsh that counts itself. */
  async countingVirsh(behind: string): Promise<{ file: string; count: () => Promise<number> }> {
    const log = this.path('virsh.log');
    await writeFile(log, '');
    const file = this.path('counting-virsh');
    await writeFile(file, `#!/bin/sh\necho >> '${log}'\nexec ${behind} "$@"\n`);
    await chmod(file, 0o755);
    return { file, count: async () => (await readFile(log, 'utf8')).split('\n').length - 1 };
  }

  /** Runs the program; its wall time and its own peak of resident memory (getrusage(2)), without its children. */
  async run(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ ms: number; peakBytes: number; stdout: string; exitCode: number | undefined }> {
    const peak = this.path('peak');
    const startedAt = performance.now();
    const { stdout, exitCode } = await execa(process.execPath, ['--import', this.path('peak.mjs'), this.main, ...args], {
      reject: false,
      stdin: 'ignore',
      maxBuffer: 256 * 2 ** 20,
      env: { VIRT_TRIM_STATE_DIR: this.path('state'), BENCH_PEAK: peak, ...env },
    });
    return { ms: performance.now() - startedAt, peakBytes: Number(await readFile(peak, 'utf8')) * 1024, stdout, exitCode };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.directory, { recursive: true, force: true });
  }
}

/** Wall time of a command, in milliseconds. */
export async function timed(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<number> {
  const startedAt = performance.now();
  await execa(file, args, { stdin: 'ignore', env, reject: false, maxBuffer: 256 * 2 ** 20 });
  return performance.now() - startedAt;
}

/** Alternates the contenders, so that a busy machine is busy for all of them. */
export async function alternate(
  rounds: number,
  contenders: Readonly<Record<string, () => Promise<number>>>,
): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) for (const [name, run] of Object.entries(contenders)) times[name]?.push(await run());
  return times;
}
