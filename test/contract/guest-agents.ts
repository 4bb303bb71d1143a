import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';
import { GuestPort } from '../vm/guest-port.ts';

export const qemuGa = '/usr/sbin/qemu-ga';

/** What may be called on the machine that runs the tests: nothing that changes it. All else is blocked in both agents. */
export const harmless = [
  'guest-sync-delimited',
  'guest-sync',
  'guest-ping',
  'guest-info',
  'guest-get-time',
  'guest-get-host-name',
  'guest-get-timezone',
  'guest-get-users',
  'guest-get-osinfo',
  'guest-get-fsinfo',
  'guest-get-disks',
  'guest-network-get-interfaces',
  'guest-fsfreeze-status',
];

export function listBlocked(program: string): string {
  const { stdout } = spawnSync(program, ['-b', 'help'], { encoding: 'utf8' });
  const others = stdout.split('\n').filter((name) => name !== '' && !harmless.includes(name));
  if (!others.includes('guest-fsfreeze-freeze')) throw new Error(`${program} -b help did not name its commands`);
  return others.join(',');
}

/** @returns false for a socket that refuses. @throws any other error. */
function isRefusal(error: NodeJS.ErrnoException): false {
  if (error.code !== 'ECONNREFUSED') throw error;
  return false;
}

/** An agent on a socket in a directory of its own, unable to freeze, thaw or trim the machine it runs on. */
export class SocketAgent implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'guest-agent-'));
  readonly socket = join(this.directory, 'sock');
  readonly port = new GuestPort(this.socket);
  readonly process: ChildProcess;

  constructor(
    program: string,
    options: {
      readonly args?: readonly string[];
      readonly env?: Readonly<Record<string, string>>;
      readonly runner?: readonly string[];
    } = {},
  ) {
    const block = listBlocked(program.includes('qemu-ga') ? qemuGa : ourAgent);
    const [first, ...rest] = [...(options.runner ?? []), program];
    this.process = spawn(
      first,
      [...rest, '-m', 'unix-listen', '-p', this.socket, '-t', this.directory, '-b', block, ...(options.args ?? [])],
      {
        env: { ...process.env, ...options.env },
        stdio: 'ignore',
      },
    );
  }

  async open(): Promise<GuestPort> {
    for (;;) {
      // Between bind(2) and listen(2) the socket is there and refuses.
      if (existsSync(this.socket) && (await this.port.open().then(() => true, isRefusal))) return this.port;
      if (this.process.exitCode !== null) throw new Error(`${this.process.spawnfile} ended with ${this.process.exitCode}`);
      await sleep(10);
    }
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  /** A line of /proc/PID/status as a number: kB of memory, or a count. */
  status(key: string): number {
    const text = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.port.close();
    this.process.kill('SIGKILL');
    if (this.process.exitCode === null) await new Promise((end) => this.process.once('exit', end));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
