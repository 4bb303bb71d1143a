import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildFuzzer } from './build.ts';

/**
 * `npm run fuzz -- [--runs 50000000] [--seconds N] [--processes 1] [--engine accesses|allocations] [--work DIRECTORY]`: builds the fuzzer
 * and lets it go on from the kept corpus, several processes on one corpus if asked. Prints the coverage curve, one line per doubling of
 * the executions of all processes, and stops at the first report or at Ctrl-C. At the end the corpus is minimised into test/fuzz/corpus.
 */
const here = import.meta.dirname;
const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seconds: { type: 'string' },
    processes: { type: 'string', default: '1' },
    engine: { type: 'string', default: 'accesses' },
    work: { type: 'string' },
  },
});
const work = values.work ?? mkdtempSync(join(tmpdir(), 'virt-trim-fuzz-'));
const processes = Number(values.processes);
const kept = resolve(here, 'corpus');
const corpus = join(work, 'corpus');

/** Leaks cannot be told from what the engine keeps; stacks of allocations and a long quarantine only cost time. */
const asan = 'detect_leaks=0:malloc_context_size=0:quarantine_size_mb=1:detect_stack_use_after_return=0';

/** libFuzzer's exit status after a Ctrl-C. */
const interrupted = 72;

const children = new Set<ChildProcess>();
process.on('SIGINT', () => {
  for (const child of children) child.kill('SIGINT');
});

function fuzz(program: string, args: readonly string[], onLine: (line: string) => void): Promise<number> {
  const child = spawn(program, args, { cwd: work, env: { ...process.env, ASAN_OPTIONS: asan }, stdio: ['ignore', 'ignore', 'pipe'] });
  children.add(child);
  createInterface({ input: child.stderr }).on('line', onLine);
  return new Promise((end) => {
    child.once('exit', (status) => {
      children.delete(child);
      end(status ?? 1);
    });
  });
}

/** The curve over all processes: executions added up, the widest coverage of one. */
class Curve {
  private readonly executions: number[] = [];
  private next = 1024;
  private last = '';

  take(index: number, line: string): boolean {
    const match = /^#(\d+)\s.*\bft: (\d+) corp: (\d+)/.exec(line);
    if (match === null) return false;
    this.executions[index] = Number(match[1]);
    const all = this.total;
    this.last = `${all} executions: ${match[2]} features, ${match[3]} inputs\n`;
    if (all >= this.next) process.stdout.write(this.last);
    while (this.next <= all) this.next *= 2;
    return true;
  }

  get total(): number {
    return this.executions.reduce((sum, it) => sum + it, 0);
  }

  end(): void {
    process.stdout.write(`the last: ${this.last}`);
  }
}

mkdirSync(corpus, { recursive: true });
for (const name of readdirSync(kept)) copyFileSync(join(kept, name), join(corpus, name));
const { engine } = values;
if (engine !== 'accesses' && engine !== 'allocations') throw new Error(`--engine ${engine}: accesses or allocations`);
const program = await buildFuzzer(work, engine);
const curve = new Curve();
const runs = values.runs === undefined ? [] : [`-runs=${Math.ceil(Number(values.runs) / processes)}`];
const statuses = await Promise.all(
  Array.from({ length: processes }, async (_, index) => {
    const report: string[] = [];
    const status = await fuzz(
      program,
      [
        '-detect_leaks=0',
        '-max_len=128',
        '-len_control=0',
        '-reload=1',
        // The quicker of two inputs that show the same is gone on from more often.
        '-entropic_scale_per_exec_time=1',
        `-dict=${resolve(here, 'dictionary')}`,
        ...runs,
        `-max_total_time=${values.seconds ?? (values.runs === undefined ? '600' : '0')}`,
        '-print_final_stats=1',
        'corpus',
      ],
      (line) => {
        if (line.startsWith('stat::')) process.stdout.write(`${index}: ${line}\n`);
        else if (!curve.take(index, line)) report.push(line);
      },
    );
    if (status !== 0 && status !== interrupted) process.stderr.write(`${report.slice(-40).join('\n')}\n`);
    return status;
  }),
);
curve.end();
process.exitCode = statuses.find((status) => status !== 0 && status !== interrupted) ?? 0;
if (process.exitCode === 0) {
  const smallest = join(work, 'minimised');
  rmSync(smallest, { recursive: true, force: true });
  mkdirSync(smallest);
  await fuzz(program, ['-detect_leaks=0', '-merge=1', 'minimised', 'corpus'], () => undefined);
  for (const name of readdirSync(kept)) rmSync(join(kept, name));
  for (const name of readdirSync(smallest)) copyFileSync(join(smallest, name), join(kept, name));
}
