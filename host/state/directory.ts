import { mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { AppError } from '../../shared/errors.ts';

/** Where we keep history, leases and caches: VIRT_TRIM_STATE_DIR, else /var/lib/virt-trim for root, else $XDG_STATE_HOME/virt-trim. */
export function stateDirectory(env: NodeJS.ProcessEnv, uid: number = process.getuid?.() ?? 0): string {
  const named = env['VIRT_TRIM_STATE_DIR'];
  if (named !== undefined && named !== '') return path.resolve(named);
  if (uid === 0) return '/var/lib/virt-trim';
  return path.join(env['XDG_STATE_HOME'] ?? path.join(homedir(), '.local', 'state'), 'virt-trim');
}

/**
 * Creates the directory (0700) where it is missing, and checks that it is ours and that nobody else can write to it.
 * @returns its path. @throws AppError `state-directory` with what to do.
 */
export async function openStateDirectory(directory: string, uid: number = process.getuid?.() ?? 0): Promise<string> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new AppError(
      'state-directory',
      `${directory}: cannot be created: ${(cause as Error).message}; set VIRT_TRIM_STATE_DIR to another place`,
      {
        cause,
        context: { directory },
      },
    );
  }
  const facts = await stat(directory);
  if (!facts.isDirectory()) throw new AppError('state-directory', `${directory}: is not a directory`, { context: { directory } });
  if (facts.uid !== uid) {
    throw new AppError(
      'state-directory',
      `${directory}: belongs to uid ${facts.uid}, not to us (${uid}); set VIRT_TRIM_STATE_DIR or chown it`,
      {
        context: { directory, uid: facts.uid },
      },
    );
  }
  if ((facts.mode & 0o022) !== 0) {
    throw new AppError('state-directory', `${directory}: others can write to it; run: chmod go-w ${directory}`, {
      context: { directory, mode: (facts.mode & 0o777).toString(8) },
    });
  }
  return directory;
}
