import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hashFile } from './cache.ts';
import { buildBytecodeCompiler, bundleAgent, compileEngine, compileScript, linkAgent } from './compile.ts';
import { engine, obtainEngine } from './engine.ts';
import { BuildError, run } from './process.ts';
import { architectures, obtainToolchain } from './toolchain.ts';
import type { Architecture } from './toolchain.ts';

/** `build:guest`: makes the agent's binaries, their checksums and a record of how they were made. */
async function main(): Promise<void> {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
  const { values } = parseArgs({ options: { arch: { type: 'string', multiple: true }, out: { type: 'string' } } });
  const wanted = chooseArchitectures(values.arch);
  const out = resolve(values.out ?? join(root, 'guest/dist'));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const source = obtainEngine();
  const work = mkdtempSync(join(tmpdir(), 'virt-trim-guest-'));
  try {
    const bytecode = compileScript(buildBytecodeCompiler(source.directory), await bundleAgent(root, version), work);
    const files = wanted.map((architecture) => {
      const toolchain = obtainToolchain(architecture);
      const binary = linkAgent({
        toolchain,
        engineSource: source.directory,
        engineObjects: compileEngine(source.directory, toolchain),
        nativeSources: join(root, 'guest/native'),
        bytecode,
        directory: join(work, architecture),
      });
      return publish(binary, out, { name: `virt-trim-agent-${architecture}`, compiler: toolchain.compiler });
    });
    writeFileSync(join(out, 'SHA256SUMS'), files.map((file) => `${file.sha256}  ${file.name}\n`).join(''));
    const info = { version, engine: { ...engine, obtained: source.obtained, patched: false }, files };
    writeFileSync(join(out, 'build-info.json'), `${JSON.stringify(info, null, 2)}\n`);
    for (const file of files) process.stdout.write(`${join(out, file.name)} ${file.bytes} bytes sha256 ${file.sha256}\n`);
    process.stdout.write(`engine: ${engine.name} ${engine.version}, ${engine.archive} from ${source.obtained}, sha256 verified\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function chooseArchitectures(given: readonly string[] | undefined): readonly Architecture[] {
  if (given === undefined) return architectures;
  return given.map((name) => {
    const known = architectures.find((it) => it === name);
    if (known === undefined) throw new BuildError(`--arch is one of ${architectures.join(', ')}, not ${name}`);
    return known;
  });
}

function publish(binary: string, out: string, file: { readonly name: string; readonly compiler: string }) {
  mkdirSync(out, { recursive: true });
  const target = join(out, file.name);
  rmSync(target, { force: true });
  copyFileSync(binary, target);
  chmodSync(target, 0o755);
  const compiler = run(file.compiler, ['--version']).split('\n')[0] ?? '';
  return { name: file.name, bytes: statSync(target).size, sha256: hashFile(target), compiler };
}

try {
  await main();
} catch (thrown) {
  if (!(thrown instanceof BuildError)) throw thrown;
  process.stderr.write(`build:guest: ${thrown.message}\n`);
  process.exitCode = 1;
}
