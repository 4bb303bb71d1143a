import type { Sys, TrimRange, WorkKind, WorkResult } from './sys.ts';

/**
 * The one native thread. FIFREEZE and FITRIM may take seconds to hours, or for ever where a disk hangs; they run there one at a
 * time, so that the loop goes on answering pings and the watchdog can thaw what is frozen already.
 */
export class Worker {
  private readonly sys: Sys;
  private onDone: ((result: WorkResult) => void) | undefined;
  private descriptor = -1;

  constructor(sys: Sys) {
    this.sys = sys;
  }

  /** Readable when a piece of work is done; -1 until the thread was needed. */
  get fd(): number {
    return this.descriptor;
  }

  get busy(): boolean {
    return this.onDone !== undefined;
  }

  /** Must be called before anything is frozen: a thread's stack is memory that may have to be found. Returns a negative errno. */
  ensureStarted(): number {
    if (this.descriptor < 0) this.descriptor = this.sys.startWorker();
    return this.descriptor;
  }

  submit(work: { readonly kind: WorkKind; readonly fd: number; readonly range?: TrimRange }, onDone: (result: WorkResult) => void): void {
    this.onDone = onDone;
    this.sys.submitWork(work.kind, work.fd, work.range);
  }

  finish(): void {
    const result = this.sys.finishWork();
    const onDone = this.onDone;
    this.onDone = undefined;
    onDone?.(result);
  }
}
