import { readFileSync } from 'node:fs';

/**
 * Hundredths of a second since boot, suspend included (proc(5), /proc/uptime). Nobody can set this clock, and the guard, a shell program,
 * can read it: every deadline is on it. Synchronous because it is read inside a frozen window.
 */
export function readBootCentis(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100);
}

/** Names this boot of the host: a deadline of another boot means nothing, and has passed. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** A process, by what no later process with the same number shares. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as text (proc(5), field 22 of /proc/PID/stat). */
  readonly start: string;
}

/** Reads the identity of a living process; null where there is none, or only its zombie. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null; // no such process
  }
  // The name, in parentheses, may hold anything: fields count from behind the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const start = fields[19];
  return state === 'Z' || state === 'X' || start === undefined ? null : { pid, start };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.start === identity.start;
}
