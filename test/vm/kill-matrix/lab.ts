import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Guest } from '../../../host/demo/guest.ts';
import type { TinyGuestSpec } from '../../../host/demo/tiny-guest.ts';
import type { Rig } from '../../rig/rig.ts';
import type { AgentScript } from '../../rig/scripted-agent.ts';
import { FreezeWatch } from './freeze-watch.ts';

/** A run of virt-trim under observation. */
export interface Run {
  readonly pid: number;
  readonly startedMs: number;
  /** Waits for its end, or gives up on it (and kills it) after `timeoutMs`. */
  end(timeoutMs?: number): Promise<{ status: number | string; output: string }>;
  kill(signal: NodeJS.Signals): void;
}

export interface LabOptions {
  readonly rig: Rig;
  readonly mainFile: string;
  readonly name: string;
  readonly leaseSeconds: number;
  readonly guest?: Partial<TinyGuestSpec> | undefined;
  readonly script?: ((guest: () => Guest) => AgentScript) | undefined;
  /** One that runs already, and is given back. */
  readonly watched?: WatchedGuest | undefined;
}

/** A guest with its probe. */
export interface WatchedGuest {
  readonly guest: Guest;
  readonly watch: FreezeWatch;
}

const bootMs = 240_000;

/** Boots a guest and starts its probe. */
export async function bootWatched(options: Pick<LabOptions, 'rig' | 'name' | 'guest' | 'script'>): Promise<WatchedGuest> {
  const spec = { name: options.name, disks: [{ sizeBytes: 64 * 1024 * 1024 }], ...options.guest };
  let guest: Guest | undefined;
  const current = (): Guest => {
    if (guest === undefined) throw new Error('the guest is not there yet');
    return guest;
  };
  if (options.script === undefined) guest = await (await options.rig.define(spec)).boot(bootMs);
  else ({ guest } = await options.rig.bootScripted(spec, options.script(current)));
  return { guest, watch: await FreezeWatch.start(guest) };
}

/** One guest and one state directory, for one row of the matrix. */
export class Lab implements AsyncDisposable {
  readonly rig: Rig;
  readonly guest: Guest;
  /** Another one where the guest has moved. */
  watch: FreezeWatch;
  readonly stateDirectory: string;
  readonly leaseSeconds: number;
  readonly mainFile: string;
  /** What the last run has printed so far. */
  lastOutput = '';
  /** performance.now() */
  readonly openedMs = performance.now();
  readonly #isOwn: boolean;
  readonly #cleanups: (() => Promise<unknown>)[] = [];

  private constructor(options: LabOptions, guest: Guest, watch: FreezeWatch, stateDirectory: string) {
    this.rig = options.rig;
    this.guest = guest;
    this.watch = watch;
    this.stateDirectory = stateDirectory;
    this.leaseSeconds = options.leaseSeconds;
    this.mainFile = options.mainFile;
    this.#isOwn = options.watched === undefined;
  }

  static async open(options: LabOptions): Promise<Lab> {
    const stateDirectory = await mkdtemp(path.join(tmpdir(), 'virt-trim-matrix-'));
    const { guest, watch } = options.watched ?? (await bootWatched(options));
    return new Lab(options, guest, watch, stateDirectory);
  }

  /** Runs last, also where the row failed. */
  defer(cleanup: () => Promise<unknown>): void {
    this.#cleanups.unshift(cleanup);
  }

  /** Starts virt-trim in a session of its own. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}, uri = this.rig.uri): Run {
    const startedMs = performance.now();
    const child = execa(process.execPath, [this.mainFile, '-c', uri, ...args], {
      reject: false,
      all: true,
      detached: true,
      cleanup: false,
      stdin: 'ignore',
      env: { VIRT_TRIM_STATE_DIR: this.stateDirectory, ...env },
    });
    const pid = child.pid ?? 0;
    this.lastOutput = '';
    child.all.on('data', (chunk: Buffer) => {
      this.lastOutput += chunk.toString();
    });
    return {
      pid,
      startedMs,
      end: async (timeoutMs = 150_000) => {
        const late = setTimeout(() => process.kill(-pid, 'SIGKILL'), timeoutMs);
        const result = await child;
        clearTimeout(late);
        return { status: result.exitCode ?? result.signal ?? 'unknown', output: result.all.trim() };
      },
      kill: (signal) => {
        process.kill(pid, signal);
      },
    };
  }

  /** `quiesce GUEST -- COMMAND`, with this lab's lease. */
  quiesce(command: readonly string[], env: Readonly<Record<string, string>> = {}, options: readonly string[] = []): Run {
    return this.start(['quiesce', '--lease', `${this.leaseSeconds}s`, ...options, this.guest.uuid, '--', ...command], env);
  }

  get leases(): string {
    return path.join(this.stateDirectory, 'leases');
  }

  async leaseFile(name: string): Promise<string | null> {
    return readFile(path.join(this.leases, this.guest.uuid, name), 'utf8').catch(() => null);
  }

  /** Waits until a file of the lease says something. */
  async until(name: string, says: RegExp, timeoutMs = 60_000): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (!says.test((await this.leaseFile(name)) ?? '')) {
      if (performance.now() > until) throw new Error(`the lease's ${name} never said ${String(says)}; virt-trim said: ${this.lastOutput}`);
      await sleep(5);
    }
  }

  /** performance.now() of the lease's deadline as it was written first; read it while the lease is there. */
  async deadlineMs(): Promise<number> {
    const centis = Number(await this.leaseFile('deadline'));
    const uptime = Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]);
    return performance.now() + centis * 10 - uptime * 1000;
  }

  async guardPids(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of ['guard.1', 'guard.2']) pids.push(Number((await this.leaseFile(name))?.split(' ')[0] ?? 0));
    return pids.filter((pid) => pid > 0);
  }

  /** Whether a lease is there, or half of one. */
  async isLeased(): Promise<boolean> {
    return (await readdir(this.leases).catch(() => [])).length > 0;
  }

  async hasGuard(): Promise<boolean> {
    for (const pid of await this.guardPids()) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (command.includes(this.stateDirectory)) return true;
    }
    return false;
  }

  /** The virsh processes that a run of ours has. */
  async virshOf(pid: number): Promise<number[]> {
    return (await processes()).filter((each) => each.parent === pid && each.command.startsWith('virsh')).map((each) => each.pid);
  }

  /** Everything of ours that is there: leases, guards, virsh that guards started, marks. */
  async leftovers(connectionUris: readonly string[] = [this.rig.uri]): Promise<string[]> {
    const found: string[] = [];
    for (const name of await readdir(this.leases).catch(() => [])) found.push(`lease ${name}`);
    for (const each of await processes()) if (each.command.includes(this.stateDirectory)) found.push(`process ${each.command}`);
    for (const uri of connectionUris) {
      const { stdout } = await execa('virsh', ['-c', uri, 'dumpxml', this.guest.uuid], { reject: false, timeout: 20_000 });
      if (stdout.includes('xmlns/domain/1/lease')) found.push('mark in the metadata');
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.#cleanups) await cleanup();
    for (const each of await processes()) {
      if (each.command.includes(this.stateDirectory) && each.pid !== process.pid) killQuietly(each.pid);
    }
    if (this.#isOwn) await this.guest.remove();
    await rm(this.stateDirectory, { recursive: true, force: true });
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Every living process with its parent and command line. */
export async function processes(): Promise<ProcessEntry[]> {
  const found: ProcessEntry[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = await readFile(`/proc/${name}/stat`, 'utf8');
      const [state = '', parent = '0'] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const command = (await readFile(`/proc/${name}/cmdline`, 'utf8')).split('\0').join(' ').trim();
      if (state !== 'Z') found.push({ pid: Number(name), parent: Number(parent), command });
    } catch {
      continue; // it ended while we looked
    }
  }
  return found;
}
