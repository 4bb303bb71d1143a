import type { Finish } from '../command.ts';
import { EBUSY, EOPNOTSUPP, errorWords } from '../errno.ts';
import type { Sys } from '../sys.ts';
import type { Worker } from '../worker.ts';
import type { Held } from './thaw.ts';

/**
 * One guest-fsfreeze-freeze while it runs: FIFREEZE on one filesystem after the other, in the worker. What does not support it or
 * is frozen already is passed over, as qemu-ga does; any other error ends the run.
 */
export class FreezeRun {
  readonly finish: Finish;
  private readonly sys: Sys;
  private readonly worker: Worker;
  private targets: Held[];
  private readonly onFrozen: (held: Held) => void;
  private readonly onEnd: (error: string | undefined) => void;
  private stopped: string | undefined;

  constructor(run: {
    readonly sys: Sys;
    readonly worker: Worker;
    readonly targets: readonly Held[];
    readonly finish: Finish;
    readonly onFrozen: (held: Held) => void;
    readonly onEnd: (error: string | undefined) => void;
  }) {
    this.sys = run.sys;
    this.worker = run.worker;
    this.targets = [...run.targets];
    this.finish = run.finish;
    this.onFrozen = run.onFrozen;
    this.onEnd = run.onEnd;
  }

  /** No further filesystem is frozen; a FIFREEZE that is under way cannot be called back, so the end comes when it returns. */
  stop(reason: string): void {
    this.stopped ??= reason;
  }

  next(): void {
    const target = this.stopped === undefined ? this.targets.shift() : undefined;
    if (target === undefined) {
      for (const rest of this.targets) this.sys.close(rest.fd);
      this.targets = [];
      this.onEnd(this.stopped);
      return;
    }
    this.worker.submit({ kind: 'freeze', fd: target.fd }, ({ status }) => {
      if (status === 0) {
        this.onFrozen(target);
      } else {
        this.sys.close(target.fd);
        if (status !== -EOPNOTSUPP && status !== -EBUSY) this.stop(`failed to freeze ${target.mount.path}: ${errorWords(status)}`);
      }
      this.next();
    });
  }
}
