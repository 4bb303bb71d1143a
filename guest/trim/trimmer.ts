import type { Finish, Job } from '../command.ts';
import { EINTR, EINVAL, ENOTTY, EOPNOTSUPP, errorWords } from '../errno.ts';
import { decodeInteger } from '../json/number.ts';
import type { Json } from '../json/value.ts';
import type { Log } from '../log.ts';
import { firstMounts, openFilesystem, readMounts } from '../mounts/mount-table.ts';
import type { Mount } from '../mounts/mount-table.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import type { Worker } from '../worker.ts';
import { planRanges } from './ranges.ts';

/** GuestFilesystemTrimResult of QEMU's schema; `error` is `trim not supported` where filesystem or device cannot. */
export interface TrimmedPath {
  readonly path: string;
  readonly trimmed?: number;
  readonly minimum?: Json;
  readonly error?: string;
}

export interface TrimmerSettings {
  readonly sys: Sys;
  readonly log: Log;
  readonly worker: Worker;
}

/**
 * guest-fstrim: FITRIM on every local filesystem, each once, in the worker thread. A filesystem that is large is trimmed in pieces,
 * so that a freeze that comes meanwhile need not wait for all of it.
 */
export class Trimmer {
  private readonly settings: TrimmerSettings;

  constructor(settings: TrimmerSettings) {
    this.settings = settings;
  }

  /** `minimum` is the smallest extent to discard, in digits. The answer's paths stand as qemu-ga's do, the last mount first. */
  trim(minimum: string, finish: Finish): Job {
    const { sys, log, worker } = this.settings;
    const started = worker.ensureStarted();
    if (started < 0) throw new QgaError(`failed to start a thread: ${errorWords(started)}`);
    log.write('info', 'guest-fstrim called');
    const mounts = readMounts(sys);
    const targets = firstMounts(mounts);
    const paths: TrimmedPath[] = [];
    let stopping = false;
    const next = (): void => {
      const target = targets.shift();
      if (target === undefined) {
        finish({ value: { paths: paths.toReversed() } });
        return;
      }
      this.trimOne(target, { mounts, minimum, shouldStop: () => stopping }, (path) => {
        paths.push(path);
        next();
      });
    };
    next();
    return {
      // The space is worth having even when nobody waits for the answer any more.
      abandon: () => undefined,
      makeWay: () => {
        stopping = true;
      },
    };
  }

  private trimOne(
    mount: Mount,
    how: { readonly mounts: readonly Mount[]; readonly minimum: string; readonly shouldStop: () => boolean },
    done: (path: TrimmedPath) => void,
  ): void {
    const { sys, worker } = this.settings;
    const { path } = mount;
    const opened = tryOpen(sys, mount, how.mounts);
    if (typeof opened === 'string') {
      done({ path, error: opened });
      return;
    }
    const ranges = planRanges(sys, mount);
    let trimmed = 0;
    let piece = 0;
    const end = (result: TrimmedPath): void => {
      sys.close(opened);
      done(result);
    };
    const next = (minimum: string): void => {
      const range = ranges[piece];
      if (range === undefined) {
        end({ path, trimmed, minimum: decodeInteger(minimum) });
      } else if (how.shouldStop()) {
        end({ path, error: `failed to trim: ${errorWords(EINTR)}` });
      } else {
        worker.submit({ kind: 'trim', fd: opened, range: { ...range, minimum: how.minimum } }, (result) => {
          // A piece that begins behind the end: the filesystem is smaller than its device.
          const behindTheEnd = result.status === -EINVAL && piece > 0;
          if (result.status < 0 && !behindTheEnd) {
            end({ path, error: describeTrimError(result.status) });
            return;
          }
          trimmed += behindTheEnd ? 0 : result.trimmed;
          piece = behindTheEnd ? ranges.length : piece + 1;
          next(behindTheEnd ? minimum : result.minimum);
        });
      }
    };
    next(how.minimum);
  }
}

/** qemu-ga's words. ENOTTY is what a CD-ROM says. */
function describeTrimError(status: number): string {
  return status === -ENOTTY || status === -EOPNOTSUPP ? 'trim not supported' : `failed to trim: ${errorWords(status)}`;
}

/** The descriptor, or qemu-ga's words for why there is none. */
function tryOpen(sys: Sys, mount: Mount, mounts: readonly Mount[]): number | string {
  try {
    return openFilesystem(sys, mount, mounts) ?? 'failed to open: another filesystem is mounted over it';
  } catch (thrown) {
    if (!(thrown instanceof QgaError)) throw thrown;
    return thrown.message.replace(`failed to open ${mount.path}: `, 'failed to open: ');
  }
}
