import { randomBytes } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../shared/errors.ts';
import { runTool, spawnTool, type RunningTool, type ToolResult } from '../process.ts';
import { seedCapabilities } from './capabilities.ts';
import { writeHypervisorConfig } from './hypervisor-config.ts';
import { findProgramFile } from './program-file.ts';

export interface HypervisorOptions {
  /** Folder for its directory. On a disk file system that can punch holes, and short: a socket path has 107 bytes. Default /var/tmp. */
  readonly base?: string | undefined;
}

const startTimeoutMs = 20_000;
const daemonTimeoutMs = 30_000;
const disposeTimeoutMs = 30_000;

/** Ours, below VIRT_TRIM_RIG_BASE or /var/tmp: on Debian 13 /tmp is memory. */
function defaultBase(): string {
  return process.env['VIRT_TRIM_RIG_BASE'] ?? '/var/tmp';
}

/** The longest path below the directory that libvirtd or QEMU binds a socket to; unix(7) allows 107 bytes. */
const longestSocket = '/virt-trim-hv-00000000/sock/libvirt-admin-sock';

/** @throws AppError `config` for a folder in which no guest could start: said here, because QEMU's own words for it are obscure. */
async function checkBase(base: string): Promise<void> {
  const context = { base };
  if (Buffer.byteLength(base + longestSocket) > 107) {
    throw new AppError('config', `${base}: the path is too long, a socket below it would have more than 107 bytes`, { context });
  }
  for (let folder = resolve(base); folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & 0o001) === 0)
      throw new AppError('config', `${folder}: QEMU runs as a user of its own and cannot get in (mode o+x)`, { context });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The first line that the supervisor prints, or null when it ended without one. */
async function firstLine(supervisor: RunningTool): Promise<string | null> {
  if (supervisor.stdout === null) return null;
  const lines = createInterface({ input: supervisor.stdout });
  try {
    for await (const line of lines) return line;
    return null;
  } finally {
    lines.close();
  }
}

/**
 * A libvirtd of our own in a mount namespace of its own, beside the machine's and without touching it. Everything it has lies
 * below one directory; a supervisor of its own removes processes, mounts and directory when we dispose of it, end or die.
 */
export class Hypervisor implements AsyncDisposable {
  readonly directory: string;
  readonly uri: string;
  /** A process that holds the mount namespace. */
  readonly anchorPid: number;
  readonly supervisorPid: number;
  readonly #supervisor: RunningTool;
  #disposed: Promise<void> | undefined;

  constructor(directory: string, anchorPid: number, supervisor: RunningTool) {
    this.directory = directory;
    this.uri = `qemu+unix:///system?socket=${directory}/sock/libvirt-sock`;
    this.anchorPid = anchorPid;
    this.#supervisor = supervisor;
    this.supervisorPid = supervisor.pid ?? 0;
  }

  /** A path below the hypervisor's own directory. It reads the same inside and outside of the namespace. */
  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** Runs a program inside the hypervisor's mount namespace (its /dev, /run, /etc/libvirt). */
  enter(file: string, args: readonly string[], timeoutMs = 10_000): Promise<ToolResult> {
    // --root: in a chroot the namespace's own root is the machine's, not ours.
    return runTool('nsenter', ['--mount', '--root', `--target=${this.anchorPid}`, '--', file, ...args], { timeoutMs });
  }

  /** The daemon's process id, null while none runs. */
  async daemonPid(): Promise<number | null> {
    let text: string;
    try {
      text = await readFile(this.path('libvirtd.pid'), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    const pid = Number(text);
    return pid > 0 && isAlive(pid) ? pid : null;
  }

  /** Returns when it accepts connections. Guests that run are taken over, as after a restart of the service. */
  async startDaemon(): Promise<void> {
    const args = ['--daemon', '--config', this.path('libvirtd.conf'), '--pid-file', this.path('libvirtd.pid')];
    const environment = ['-i', `PATH=${process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin'}`, 'LC_ALL=C', 'HOME=/root'];
    const result = await this.enter('env', [...environment, 'libvirtd', ...args], daemonTimeoutMs);
    if (result.exitCode === 0) return;
    throw new AppError('tool-failed', `the private libvirtd did not start: ${result.stderr.trim() || `status ${result.exitCode}`}`, {
      context: { directory: this.directory },
    });
  }

  /** SIGTERM: an orderly end; the guests keep running. */
  async stopDaemon(): Promise<void> {
    await this.#endDaemon('SIGTERM');
  }

  /** SIGKILL: it dies on the spot; the guests keep running. */
  async killDaemon(): Promise<void> {
    await this.#endDaemon('SIGKILL');
  }

  /** SIGSTOP: clients connect and wait for ever. */
  async pauseDaemon(): Promise<void> {
    await this.#signalDaemon('SIGSTOP');
  }

  async resumeDaemon(): Promise<void> {
    await this.#signalDaemon('SIGCONT');
  }

  async restartDaemon(): Promise<void> {
    await this.stopDaemon();
    await this.startDaemon();
  }

  /** Kills its guests and daemon, removes mounts and directory, and returns when they are gone. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    this.#supervisor.stdin?.end();
    const late = new AbortController();
    const result = await Promise.race([
      this.#supervisor,
      sleep(disposeTimeoutMs, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
    if (result?.exitCode === 0) return;
    throw new AppError('io', `${this.directory}: something of the private hypervisor could not be removed`);
  }

  async #signalDaemon(signal: NodeJS.Signals): Promise<number> {
    const pid = await this.daemonPid();
    if (pid === null) throw new AppError('internal', 'the private libvirtd does not run');
    process.kill(pid, signal);
    return pid;
  }

  async #endDaemon(signal: NodeJS.Signals): Promise<void> {
    const pid = await this.#signalDaemon(signal);
    const deadline = performance.now() + daemonTimeoutMs;
    while (isAlive(pid)) {
      if (performance.now() > deadline) throw new AppError('tool-timeout', `the private libvirtd (process ${pid}) did not end`);
      await sleep(20);
    }
    await rm(this.path('libvirtd.pid'), { force: true });
  }
}

/**
 * Starts a private hypervisor, after removing those whose owner is gone.
 * @throws AppError `permission-denied` without root, `config` for a base that cannot be used, `tool-missing`, `tool-failed`.
 */
export async function startHypervisor(options: HypervisorOptions = {}): Promise<Hypervisor> {
  if (process.getuid?.() !== 0) throw new AppError('permission-denied', 'a private hypervisor needs root: mount namespaces, and QEMU');
  const base = options.base ?? defaultBase();
  await checkBase(base);
  const program = findProgramFile('supervise.sh');
  await runTool('sh', [program, 'sweep', base], { timeoutMs: startTimeoutMs });
  const directory = join(base, `virt-trim-hv-${randomBytes(4).toString('hex')}`);
  const supervisor = spawnTool('sh', [program, 'run', directory]);
  const complaints: string[] = [];
  supervisor.stderr?.on('data', (chunk: Buffer) => complaints.push(chunk.toString()));
  const line = await firstLine(supervisor);
  const anchor = Number(/^ready (\d+)$/.exec(line ?? '')?.[1] ?? 0);
  if (anchor === 0) {
    throw new AppError('tool-failed', `no private hypervisor could be set up in ${directory}: ${complaints.join('').trim()}`);
  }
  const hypervisor = new Hypervisor(directory, anchor, supervisor);
  try {
    await writeHypervisorConfig(directory);
    await seedCapabilities(hypervisor.path('cache'));
    await hypervisor.startDaemon();
  } catch (error) {
    await hypervisor.dispose();
    throw error;
  }
  return hypervisor;
}
