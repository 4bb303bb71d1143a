import { createInterface } from 'node:readline';
import path from 'node:path';
import { spawnTool } from '../process.ts';
import { AppError } from '../../shared/errors.ts';

/** One daemon per state directory. */
export interface DaemonLock {
  /** Resolves when the lock is lost though we did not release it. */
  readonly lost: Promise<void>;
  readonly release: () => Promise<void>;
}

const answerMs = 5000;

/**
 * Takes the lock of a state directory. Node has no flock(2), so flock(1) holds it, around a `cat` on a pipe of ours: however we end,
 * the pipe closes and the kernel frees the lock. There is never a stale one, and two that start at once cannot both have it.
 * @throws AppError `busy` where another daemon has it, `tool-missing` without util-linux.
 */
export async function takeDaemonLock(stateDirectory: string): Promise<DaemonLock> {
  const file = path.join(stateDirectory, 'daemon.lock');
  const holder = spawnTool('flock', ['--nonblock', '--conflict-exit-code', '75', file, 'cat']);
  holder.stdin?.on('error', () => holder.stdin?.destroy()); // it has ended: that is what `ended` tells
  let released = false;
  const ended = (async () => holder)();
  holder.stdin?.write('held\n');
  const answered = await Promise.race([firstLine(holder.stdout), ended.then(() => null), timeout()]);
  if (answered !== 'held') {
    holder.stdin?.destroy();
    const { exitCode } = await ended;
    if (exitCode === 75) {
      throw new AppError('busy', `${stateDirectory}: another virt-trim daemon works with this state directory; one is enough`, {
        context: { file },
      });
    }
    throw new AppError('state-directory', `${file}: cannot be locked (flock ended with ${exitCode ?? 'a signal'})`, { context: { file } });
  }
  return {
    lost: ended.then(() => (released ? new Promise<void>(() => undefined) : undefined)),
    release: async () => {
      released = true;
      holder.stdin?.destroy();
      await ended;
    },
  };
}

async function firstLine(stream: NodeJS.ReadableStream | null): Promise<string | null> {
  if (stream === null) return null;
  const lines = createInterface({ input: stream });
  for await (const line of lines) return line;
  return null;
}

async function timeout(): Promise<null> {
  return new Promise((resolve) => void setTimeout(() => resolve(null), answerMs).unref());
}
