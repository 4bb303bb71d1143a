import type { LogPriority, Sys } from './sys.ts';
import { logPriorities, openFlags } from './sys.ts';

/**
 * Goes to syslog or the journal, and to the file of `-l` or, with `-v`, to stderr. While the guest is frozen nothing is
 * written: any of these may lie on a frozen filesystem, and the agent must never wait for one.
 */
export class Log {
  private readonly sys: Sys;
  private readonly verbose: boolean;
  private fd = 2;
  private path: string | undefined;
  private muted = false;

  constructor(sys: Sys, settings: { readonly path?: string | undefined; readonly verbose: boolean }) {
    this.sys = sys;
    this.verbose = settings.verbose;
    this.path = settings.path;
  }

  write(priority: LogPriority, text: string): void {
    if (this.muted || (priority === 'debug' && !this.verbose)) return;
    if (priority !== 'debug') this.sys.log(logPriorities[priority], text);
    this.openFile();
    if (this.fd !== 2 || this.verbose) this.sys.write(this.fd, `${timestamp(this.sys.realMicros())} ${priority}: ${text}\n`);
  }

  mute(): void {
    this.muted = true;
  }

  unmute(): void {
    this.muted = false;
  }

  private openFile(): void {
    if (this.path === undefined) return;
    const fd = this.sys.open(this.path, openFlags.writeOnly | openFlags.create | openFlags.append);
    this.path = undefined;
    if (fd >= 0) this.fd = fd;
  }
}

/** Seconds and microseconds since 1970, as qemu-ga's log has them. */
function timestamp(now: number): string {
  const micros = String(now);
  return `${micros.slice(0, -6)}.${micros.slice(-6)}`;
}
