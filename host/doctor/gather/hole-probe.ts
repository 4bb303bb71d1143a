import { randomBytes } from 'node:crypto';
import { open, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { cleanText } from '../../../shared/clean-text.ts';
import { runTool } from '../../process.ts';
import type { HoleProbe } from '../facts.ts';

const probeBytes = 1024 ** 2;

/**
 * Writes a scratch file in a directory, punches it and looks at what is left: what the storage really does with a hole. The image is
 * never touched. Only on request (`doctor --probe`), for doctor itself writes nothing.
 * @returns null where no file can be created there.
 */
export async function probeHole(directory: string): Promise<HoleProbe | null> {
  const file = path.join(directory, `.virt-trim-probe-${randomBytes(8).toString('hex')}`);
  const handle = await open(file, 'wx', 0o600).catch(() => null);
  if (handle === null) return null;
  try {
    try {
      await handle.writeFile(randomBytes(probeBytes)); // random: a compressing filesystem would store zeroes as nothing
      await handle.sync();
    } finally {
      await handle.close();
    }
    const writtenBytes = await allocated(file);
    const args = ['--punch-hole', '--offset', '0', '--length', String(probeBytes), file];
    const punched = await runTool('fallocate', args, { timeoutMs: 10_000, env: { LC_ALL: 'C' } });
    if (punched.exitCode !== 0) {
      const error = punched.timedOut
        ? 'fallocate --punch-hole did not end'
        : cleanText(punched.stderr.trim().split(': ').at(-1) ?? '', 100);
      return { writtenBytes, afterPunchBytes: null, error };
    }
    await syncFile(file);
    return { writtenBytes, afterPunchBytes: await allocated(file), error: null };
  } finally {
    await unlink(file);
  }
}

async function allocated(file: string): Promise<number> {
  return (await stat(file)).blocks * 512;
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
