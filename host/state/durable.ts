import { randomBytes } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { AppError, type ErrorCode } from '../../shared/errors.ts';

/** Makes a rename or removal in this directory survive a power cut (fsync(2) of the directory). */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces a file so that after a power cut either the old or the new content is there: write, fsync, rename, fsync the directory.
 * Mode 0600, and an error of our state directory, unless told otherwise.
 * @throws AppError `state-directory` (or `code`), naming the file (full, read-only, no permission).
 */
export async function writeDurably(file: string, content: string, mode = 0o600, code: ErrorCode = 'state-directory'): Promise<void> {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncDirectory(path.dirname(file));
  } catch (cause) {
    await unlink(temporary).catch((error: NodeJS.ErrnoException) => {
      if (!['ENOENT', 'EROFS', 'ENOTDIR'].includes(error.code ?? '')) throw error;
    });
    throw new AppError(code, `${file}: cannot be written: ${(cause as Error).message}`, { cause, context: { file } });
  }
}

/** Removes a file and makes the removal durable; a file that is not there is fine. */
export async function removeDurably(file: string): Promise<void> {
  try {
    await unlink(file);
    await syncDirectory(path.dirname(file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new AppError('state-directory', `${file}: cannot be removed: ${(cause as Error).message}`, { cause, context: { file } });
  }
}
