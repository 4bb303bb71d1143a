import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The program as `npm run build` makes it, but with its fault points (host/quiesce/fault.ts) left in. */
export class FaultyBundle implements AsyncDisposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  get file(): string {
    return path.join(this.directory, 'main.js');
  }

  static async build(): Promise<FaultyBundle> {
    const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-faulty-'));
    await build({
      entryPoints: [path.join(root, 'host/main.ts')],
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      outdir: directory,
      logLevel: 'warning',
      banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
    });
    await mkdir(path.join(directory, 'quiesce'));
    await copyFile(path.join(root, 'host/quiesce/guard.sh'), path.join(directory, 'quiesce/guard.sh'));
    return new FaultyBundle(directory);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.directory, { recursive: true, force: true });
  }
}
