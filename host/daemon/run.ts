import path from 'node:path';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { loadConfig, type Config } from '../policy/config.ts';
import { systemClock } from '../schedule/clock.ts';
import { openStateDirectory, stateDirectory } from '../state/directory.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { Daemon } from './daemon.ts';
import { urisOf } from './limits.ts';
import { takeDaemonLock } from './lock.ts';
import { ServiceMemory } from './memory.ts';
import { ServiceNotifier } from './notify.ts';
import { writeStatus } from './status.ts';

export interface DaemonOptions {
  /** Do what is due now, and end. */
  readonly once: boolean;
  /** How long trims that run may go on after SIGTERM. */
  readonly stopTimeoutMs: number;
}

const statusEveryMs = 5000;

/** `virt-trim daemon`. @returns the exit status: 0 after SIGTERM or SIGINT too, for that is how it ends. */
export async function runDaemon(context: CommandContext, options: DaemonOptions): Promise<number> {
  const { env, log } = context;
  // What it does is worth a line each, without being asked for.
  if (context.verbose === 0 && !context.quiet) log.level = 'info';
  const directory = await openStateDirectory(stateDirectory(env));
  const config = await loadConfig(env);
  const lock = await takeDaemonLock(directory);
  try {
    const memory = await ServiceMemory.open(path.join(directory, 'daemon.json'));
    const daemon = new Daemon({
      clock: systemClock,
      env,
      log,
      stateDirectory: directory,
      memory,
      uris: context.uris,
      config,
      spreadMissed: !options.once,
    });
    const service = new Service(context, daemon, directory, lock.lost);
    return await service.run(config, options);
  } finally {
    await lock.release();
  }
}

/** A daemon between systemd, signals and its state directory. */
class Service {
  readonly #context: CommandContext;
  readonly #daemon: Daemon;
  readonly #directory: string;
  readonly #lockLost: Promise<void>;
  readonly #notifier: ServiceNotifier;
  #lastStatus = '';
  #pulse: Promise<void> | undefined;

  constructor(context: CommandContext, daemon: Daemon, directory: string, lockLost: Promise<void>) {
    this.#context = context;
    this.#daemon = daemon;
    this.#directory = directory;
    this.#lockLost = lockLost;
    this.#notifier = new ServiceNotifier(context.env, process.pid, (message) => context.log.warn({ event: 'systemd' }, message));
  }

  async run(config: Config, options: DaemonOptions): Promise<number> {
    const { log, signal } = this.#context;
    const timers = this.#startTimers();
    const stopHangups = this.#context.onHangup(() => void this.#reload());
    try {
      await this.#daemon.start();
      await this.#notifier.ready(this.#daemon.statusLine());
      const hypervisors = urisOf(this.#context.uris, config).map((uri) => (uri === '' ? "libvirt's default" : uri));
      log.info({ event: 'start', hypervisors, stateDirectory: this.#directory }, 'virt-trim daemon has started');
      await Promise.race([aborted(signal), this.#lockGone(), ...(options.once ? [this.#daemon.idle()] : [])]);
    } catch (thrown) {
      await this.#daemon.stop(0);
      throw thrown;
    } finally {
      stopHangups();
      for (const timer of timers) clearInterval(timer);
    }
    return this.#stop(options);
  }

  #startTimers(): NodeJS.Timeout[] {
    const beat = setInterval(() => {
      this.#pulse ??= this.#writeStatus().finally(() => {
        this.#pulse = undefined;
      });
    }, statusEveryMs);
    const { watchdogMs } = this.#notifier;
    if (watchdogMs === null) return [beat];
    // It beats in the loop that does the work: one that is stuck is silent, and systemd starts us anew.
    return [beat, setInterval(() => void this.#notifier.alive(), watchdogMs / 4)];
  }

  /** What changed since the last time, at most every few seconds. The pressure always does, and is no reason to write. */
  async #writeStatus(): Promise<void> {
    const { at, ioPressure, ...status } = this.#daemon.status(process.pid);
    const text = JSON.stringify(status);
    if (text === this.#lastStatus) return;
    this.#lastStatus = text;
    const failed = await writeStatus(this.#directory, { at, ioPressure, ...status }).then(() => null, toAppError);
    if (failed !== null) this.#context.log.warn({ event: 'status' }, failed.message);
    await this.#notifier.status(this.#daemon.statusLine());
  }

  async #reload(): Promise<void> {
    const { env, log } = this.#context;
    await this.#notifier.reloading();
    try {
      const config = await loadConfig(env);
      await this.#daemon.reload(config);
      log.info({ event: 'reload', files: config.files }, 'the configuration was read again');
    } catch (thrown) {
      const error = toAppError(thrown);
      log.error({ event: 'reload', code: error.code }, `${error.message}; the old configuration stays in force`);
    }
    await this.#notifier.ready(this.#daemon.statusLine());
  }

  async #lockGone(): Promise<void> {
    await this.#lockLost;
    throw new AppError(
      'state-directory',
      `${this.#directory}: the lock was lost (its holder was killed); another daemon could start, so this one ends`,
    );
  }

  async #stop(options: DaemonOptions): Promise<number> {
    const { log } = this.#context;
    const { running } = this.#daemon.status(process.pid);
    const names = running.map(({ domain }) => domain);
    if (names.length > 0)
      log.info({ event: 'stop', domains: names }, `waiting up to ${options.stopTimeoutMs / 1000} s for what is running`);
    await this.#notifier.stopping(`waiting for ${names.join(', ') || 'nothing'}`);
    const left = await this.#daemon.stop(options.stopTimeoutMs);
    for (const domain of left) {
      log.warn(
        { event: 'left', domain },
        'guest-fstrim was sent and goes on inside the guest; it ends by itself, and other agent calls wait for it until then',
      );
    }
    await this.#pulse;
    await this.#writeStatus();
    log.info({ event: 'stop' }, 'virt-trim daemon has ended');
    return exitStatus.done;
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
