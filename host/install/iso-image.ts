import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../process.ts';
import { AppError } from '../../shared/errors.ts';
import type { Payload } from './payload.ts';

const makeMs = 120_000;

/** ISO 9660 with Rock Ridge and Joliet: every system that has a CD driver reads it. @throws AppError `tool-failed`, `tool-missing`. */
export async function makeIso(program: string, files: Payload, label: string, target: string, workDirectory: string): Promise<void> {
  const tree = await mkdtemp(path.join(workDirectory, 'iso-'));
  try {
    for (const [name, content] of files) {
      await mkdir(path.dirname(path.join(tree, name)), { recursive: true });
      await writeFile(path.join(tree, name), content);
    }
    const args = [...(program.endsWith('xorriso') ? ['-as', 'mkisofs'] : []), '-quiet', '-V', label, '-r', '-J', '-o', target, tree];
    const result = await runTool(program, args, { timeoutMs: makeMs, env: { LC_ALL: 'C' } });
    if (result.exitCode !== 0)
      throw new AppError('tool-failed', `${path.basename(program)}: ${result.stderr.trim().split('\n').at(-1) ?? 'failed without a word'}`);
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** What stands at the ISO's top for a person to run: `sh /mnt/install.sh`. It runs from a copy, so that the ISO can be taken away. */
export function consoleScript(words: string): string {
  return [
    '#!/bin/sh',
    'main() {',
    'from=$(cd "$(dirname "$0")" && pwd)',
    'work=/tmp/virt-trim-iso.$$; umask 077; mkdir "$work" || exit 22',
    'cp -R "$from"/. "$work"/ || { rm -rf "$work"; echo "virt-trim: no space in /tmp" >&2; exit 22; }',
    'cd / && umount "$from" 2>/dev/null',
    `sh "$work/in-guest.sh" ${words}; status=$?`,
    'rm -rf "$work"',
    'exit $status',
    '}',
    'main',
    '',
  ].join('\n');
}
