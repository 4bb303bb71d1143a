import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    mainFile: string;
  }
}

/**
 * Bundles the program once for a run of the tests, into a directory of its own: what is tested is the artefact that ships, from the
 * sources as they are, and two runs side by side do not disturb each other.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-dist-'));
  await execa('npm', ['run', '--silent', 'build'], { env: { VIRT_TRIM_DIST: directory } });
  project.provide('mainFile', path.join(directory, 'main.js'));
  return () => rm(directory, { recursive: true, force: true });
}
