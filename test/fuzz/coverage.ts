import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runInThisContext } from 'node:vm';
import { bundleTarget } from './build.ts';

/**
 * `npx tsx test/fuzz/coverage.ts [CORPUS]`: how many of a module's branches the inputs of a corpus reach (the kept one), oldest input first,
 * and after how many of them no branch was new.
 */
const corpus = resolve(process.argv[2] ?? join(import.meta.dirname, 'corpus'));
const { text, points } = await bundleTarget();
const counters = new Float64Array(points);
const shared = globalThis as { __c?: Float64Array; fuzzOne?: (input: string) => void };
shared.__c = counters;
runInThisContext(text);

const names = readdirSync(corpus);
let reached = 0;
let lastNew = 0;
for (const [index, name] of names.entries()) {
  shared.fuzzOne?.(readFileSync(join(corpus, name), 'latin1'));
  const now = counters.filter((count) => count > 0).length;
  if (now > reached) lastNew = index + 1;
  reached = now;
}

/** Points and reached points by module. */
const modules = new Map<string, { all: number; reached: number }>();
let module = '';
for (const line of text.split('\n')) {
  module = /^\s*\/\/ ((?:guest|shared|test)\/\S+)$/.exec(line)?.[1] ?? module;
  for (const [, point] of line.matchAll(/__c\[(\d+)\]\+\+/g)) {
    const entry = modules.get(module) ?? { all: 0, reached: 0 };
    modules.set(module, { all: entry.all + 1, reached: entry.reached + ((counters[Number(point)] ?? 0) > 0 ? 1 : 0) });
  }
}
for (const [name, entry] of [...modules].toSorted(([a], [b]) => a.localeCompare(b))) {
  process.stdout.write(`${String(entry.reached).padStart(4)} of ${String(entry.all).padStart(4)}  ${name}\n`);
}
process.stdout.write(`${reached} of ${points} in all, by ${names.length} inputs, the last new one by input ${lastNew}\n`);
