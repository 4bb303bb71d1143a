import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { cacheDirectory, hashBytes } from './cache.ts';
import { engine } from './engine.ts';
import { run } from './process.ts';
import type { Toolchain } from './toolchain.ts';

const engineUnits = ['quickjs', 'libregexp', 'libunicode', 'cutils', 'dtoa'];
const hostUnits = [...engineUnits, 'quickjs-libc', 'qjsc'];
const defines = ['-D_GNU_SOURCE', `-DCONFIG_VERSION="${engine.version}"`];

/** Small, position independent, hardened; each function in a section of its own, so that the linker drops what is never called. */
const flags = [
  '-std=gnu11',
  '-O2',
  '-fPIE',
  '-fno-plt',
  '-ffunction-sections',
  '-fdata-sections',
  '-fstack-protector-strong',
  '-fno-asynchronous-unwind-tables',
  '-fno-ident',
  '-nostdinc',
];

/** gcc's helpers that choose atomics at run time call glibc. */
const machineFlags: Readonly<Record<Toolchain['architecture'], readonly string[]>> = { x86_64: [], aarch64: ['-mno-outline-atomics'] };

/** What engine objects depend on, as a name for them in the cache. */
function objectsKey(compiler: string, options: readonly string[]): string {
  const version = run(compiler, ['--version']).split('\n')[0] ?? '';
  return hashBytes(JSON.stringify([engine.sha256, version, options])).slice(0, 16);
}

/** gcc's own headers (stdarg.h, stddef.h) and musl's, and none of glibc's. */
function includeFlags(toolchain: Toolchain): string[] {
  const own = run(toolchain.compiler, ['-print-file-name=include']).trim();
  return [...toolchain.includes, own].flatMap((directory) => ['-isystem', directory]);
}

/** The engine's compiler from script to bytecode, for the machine that builds. The version must be the engine's own. */
export function buildBytecodeCompiler(source: string): string {
  const options = ['-O1', '-w', ...defines, '-DCONFIG_CC="gcc"', '-DCONFIG_PREFIX="/usr"'];
  const directory = cacheDirectory('qjsc', objectsKey('/usr/bin/gcc', options));
  const program = join(directory, 'qjsc');
  if (existsSync(program)) return program;
  const temporary = `${program}.${process.pid}`;
  const units = hostUnits.map((unit) => join(source, `${unit}.c`));
  run('/usr/bin/gcc', [...options, '-o', temporary, ...units, '-lm', '-ldl', '-lpthread']);
  renameSync(temporary, program);
  return program;
}

/** The engine's objects for the guest. */
export function compileEngine(source: string, toolchain: Toolchain): string[] {
  const machine = machineFlags[toolchain.architecture];
  const options = [...flags, ...machine, '-w', ...defines, ...includeFlags(toolchain), `-ffile-prefix-map=${source}=engine`];
  const directory = cacheDirectory('objects', objectsKey(toolchain.compiler, [toolchain.architecture, ...flags, ...machine, ...defines]));
  return engineUnits.map((unit) => {
    const object = join(directory, `${unit}.o`);
    if (!existsSync(object)) {
      const temporary = `${object}.${process.pid}`;
      run(toolchain.compiler, [...options, '-c', join(source, `${unit}.c`), '-o', temporary]);
      renameSync(temporary, object);
    }
    return object;
  });
}

/** The agent's TypeScript as one script. */
export async function bundleAgent(root: string, version: string): Promise<string> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: ['guest/main.ts'],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2023',
    platform: 'neutral',
    minify: true,
    legalComments: 'none',
    define: { VIRT_TRIM_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
  });
  return result.outputFiles[0]?.text ?? '';
}

/** The script as bytecode in a C file without anything of the engine's own headers. */
export function compileScript(compiler: string, script: string, directory: string): string {
  writeFileSync(join(directory, 'agent.js'), script);
  run(compiler, ['-c', '-s', '-N', 'agent_bytecode', '-o', 'agent-bytecode.c', 'agent.js'], { cwd: directory });
  const file = join(directory, 'agent-bytecode.c');
  const text = readFileSync(file, 'utf8').replace(/^#include.*$/m, '#include <stdint.h>');
  writeFileSync(file, text);
  return file;
}

export interface LinkInput {
  readonly toolchain: Toolchain;
  readonly engineSource: string;
  readonly engineObjects: readonly string[];
  readonly nativeSources: string;
  readonly bytecode: string;
  readonly directory: string;
}

/** One static position-independent file. `musl-gcc -static-pie` would make a dynamic one: this names the start files itself. */
export function linkAgent(input: LinkInput): string {
  const { toolchain, directory } = input;
  mkdirSync(directory, { recursive: true });
  const names = readdirSync(input.nativeSources).sort();
  for (const name of names) copyFileSync(join(input.nativeSources, name), join(directory, name));
  copyFileSync(input.bytecode, join(directory, basename(input.bytecode)));
  const options = [
    ...flags,
    ...machineFlags[toolchain.architecture],
    '-Wall',
    '-Wextra',
    '-Werror',
    ...includeFlags(toolchain),
    '-isystem',
    input.engineSource,
  ];
  const units = [...names.filter((name) => name.endsWith('.c')), basename(input.bytecode)];
  const objects = units.map((unit) => {
    const object = unit.replace(/\.c$/, '.o');
    run(toolchain.compiler, [...options, '-c', unit, '-o', object], { cwd: directory });
    return object;
  });
  const start = (name: string): string => join(toolchain.libraries, name);
  const linker = 'pie,--no-dynamic-linker,-z,text,-z,relro,-z,now,-z,noexecstack,--gc-sections,--build-id=none';
  run(
    toolchain.compiler,
    [
      '-nostdlib',
      '-static',
      `-Wl,-${linker}`,
      '-s',
      '-o',
      'agent',
      start('rcrt1.o'),
      start('crti.o'),
      ...objects,
      ...input.engineObjects,
      start('libc.a'),
      '-lgcc',
      start('crtn.o'),
    ],
    { cwd: directory },
  );
  return join(directory, 'agent');
}
