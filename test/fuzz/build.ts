import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { buildBytecodeCompiler } from '../../guest/build/compile.ts';
import { engine, obtainEngine } from '../../guest/build/engine.ts';
import { run } from '../../guest/build/process.ts';
import { instrument } from './instrument.ts';

const root = resolve(import.meta.dirname, '../..');
/** Any report ends the process: UBSAN's by a trap, which costs less than its text. Only variable-sized stack arrays go unwatched. */
const everywhere = [
  '-fsanitize=address,undefined',
  '-fsanitize-trap=undefined',
  '-fno-sanitize-address-use-after-scope',
  '-mllvm',
  '-asan-instrument-dynamic-allocas=0',
];

/** What ASAN checks in the engine: every access, or only what its allocator and its memcpy and string functions see, at twice the speed. */
export type EngineChecks = 'accesses' | 'allocations';
const engineSanitizers: Readonly<Record<EngineChecks, readonly string[]>> = {
  accesses: everywhere,
  allocations: ['-fsanitize=undefined', '-fsanitize-trap=undefined'],
};

/** The target as one script, every branch of it counted. The names of the modules stand in it as comments. */
export async function bundleTarget(): Promise<ReturnType<typeof instrument>> {
  const bundle = await build({
    absWorkingDir: root,
    entryPoints: ['test/fuzz/entry.ts'],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2023',
    platform: 'neutral',
    logLevel: 'warning',
  });
  return instrument(bundle.outputFiles[0]?.text ?? '');
}

/**
 * The fuzzer: engine and native code under ASAN and UBSAN, any report fatal; the agent's script instrumented for coverage.
 * Needs Debian's clang. Returns the program.
 */
export async function buildFuzzer(directory: string, checks: EngineChecks): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const source = obtainEngine().directory;
  const { text, points } = await bundleTarget();
  process.stderr.write(`${points} points of coverage in the script\n`);
  writeFileSync(join(directory, 'fuzz.js'), text);
  run(buildBytecodeCompiler(source), ['-c', '-s', '-N', 'fuzz_bytecode', '-o', 'fuzz-bytecode.c', 'fuzz.js'], { cwd: directory });
  const bytecode = join(directory, 'fuzz-bytecode.c');
  writeFileSync(bytecode, readFileSync(bytecode, 'utf8').replace(/^#include.*$/m, '#include <stdint.h>'));
  copyFileSync(join(root, 'test/fuzz/fuzz.c'), join(directory, 'fuzz.c'));
  const flags = ['-O2', '-g', '-w', '-D_GNU_SOURCE', `-DCONFIG_VERSION="${engine.version}"`];
  const include = ['-I', source, '-I', join(root, 'guest/native')];
  // The interpreter's own coverage says nothing about the script, and costs half the speed: only the native code has it.
  for (const unit of ['quickjs', 'libregexp', 'libunicode', 'cutils', 'dtoa']) {
    run('clang', [...flags, ...engineSanitizers[checks], '-c', join(source, `${unit}.c`), '-o', `${unit}.o`], { cwd: directory });
  }
  const fuzzed = [join(root, 'guest/native/bytes.c'), 'fuzz.c', 'fuzz-bytecode.c'];
  const program = join(directory, 'fuzz');
  run(
    'clang',
    [
      ...flags,
      ...everywhere,
      ...include,
      '-fsanitize=fuzzer',
      '-o',
      program,
      ...fuzzed,
      'quickjs.o',
      'libregexp.o',
      'libunicode.o',
      'cutils.o',
      'dtoa.o',
      '-lm',
    ],
    {
      cwd: directory,
    },
  );
  return program;
}
