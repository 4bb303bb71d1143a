import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildFuzzer } from './build.ts';

/**
 * `npx tsx test/fuzz/run.ts [--runs 50000000] [--seconds N] [--work DIRECTORY]`: builds the fuzzer (Debian: clang libclang-rt-14-dev) and lets
 * it go on from the kept corpus. Prints the coverage curve, one line per doubling of the executions, and stops at the first report. At the
 * end the corpus is minimised into test/fuzz/corpus.
 */
const here = import.meta.dirname;
const { values } = parseArgs({ options: { runs: { type: 'string' }, seconds: { type: 'string' }, work: { type: 'string' } } });
const work = values.work ?? mkdtempSync(join(tmpdir(), 'virt-trim-fuzz-'));
const kept = resolve(here, 'corpus');
const corpus = join(work, 'corpus');

/** Leaks cannot be told from what the engine keeps; the stack depot and a long quarantine only cost time. */
const asan = 'detect_leaks=0:malloc_context_size=2:quarantine_size_mb=8:detect_stack_use_after_return=0';

function fuzz(program: string, args: readonly string[], onLine: (line: string) => void): Promise<number> {
  const child = spawn(program, args, { cwd: work, env: { ...process.env, ASAN_OPTIONS: asan }, stdio: ['ignore', 'ignore', 'pipe'] });
  createInterface({ input: child.stderr }).on('line', onLine);
  return new Promise((end) => {
    child.once('exit', (status) => end(status ?? 1));
  });
}

mkdirSync(corpus, { recursive: true });
for (const name of readdirSync(kept)) copyFileSync(join(kept, name), join(corpus, name));
const program = await buildFuzzer(work);
let next = 1024;
const report: string[] = [];
const status = await fuzz(
  program,
  [
    '-detect_leaks=0',
    '-max_len=160',
    '-len_control=0',
    `-dict=${resolve(here, 'dictionary')}`,
    ...(values.runs === undefined ? [] : [`-runs=${values.runs}`]),
    `-max_total_time=${values.seconds ?? (values.runs === undefined ? '600' : '0')}`,
    '-print_final_stats=1',
    'corpus',
  ],
  (line) => {
    const match = /^#(\d+)\s.*\bft: (\d+) corp: (\d+)/.exec(line);
    if (match !== null && Number(match[1]) >= next) {
      process.stdout.write(`${match[1]} executions: ${match[2]} features, ${match[3]} inputs\n`);
      while (next <= Number(match[1])) next *= 2;
    } else if (line.startsWith('stat::')) {
      process.stdout.write(`${line}\n`);
    } else if (match === null) {
      report.push(line);
    }
  },
);
if (status === 0) {
  const smallest = join(work, 'minimised');
  mkdirSync(smallest);
  await fuzz(program, ['-detect_leaks=0', '-merge=1', 'minimised', 'corpus'], () => undefined);
  for (const name of readdirSync(kept)) rmSync(join(kept, name));
  for (const name of readdirSync(smallest)) copyFileSync(join(smallest, name), join(kept, name));
} else {
  process.stderr.write(`${report.slice(-40).join('\n')}\n`);
}
process.exitCode = status;
