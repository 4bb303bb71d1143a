import { runTool } from '../process.ts';
import { toAppError } from '../../shared/errors.ts';

const toolTimeoutMs = 10_000;

/**
 * Tells systemd about us (sd_notify(3)). The protocol is a datagram on a unix socket, which Node cannot send: systemd-notify(1) does it,
 * a process each time, a few a minute. So the unit says NotifyAccess=all. Without NOTIFY_SOCKET nothing is sent.
 */
export class ServiceNotifier {
  readonly #active: boolean;
  readonly #complain: (message: string) => void;
  /** Milliseconds within which systemd wants to hear of us; null without WatchdogSec=. */
  readonly watchdogMs: number | null;
  #last = '';

  /** @param pid ours: the watchdog may be meant for another process (sd_watchdog_enabled(3)). */
  constructor(env: NodeJS.ProcessEnv, pid: number, complain: (message: string) => void) {
    this.#active = (env['NOTIFY_SOCKET'] ?? '') !== '';
    this.#complain = complain;
    const microseconds = Number(env['WATCHDOG_USEC'] ?? 0);
    const meant = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === pid;
    this.watchdogMs = this.#active && meant && microseconds > 0 ? microseconds / 1000 : null;
  }

  async ready(status: string): Promise<void> {
    this.#last = status;
    await this.#send('READY=1', `STATUS=${status}`);
  }

  async reloading(): Promise<void> {
    await this.#send('RELOADING=1', 'STATUS=reading the configuration');
  }

  async stopping(status: string): Promise<void> {
    await this.#send('STOPPING=1', `STATUS=${status}`);
  }

  /** Shown by `systemctl status`; sent only when it has changed. */
  async status(status: string): Promise<void> {
    if (status === this.#last) return;
    this.#last = status;
    await this.#send(`STATUS=${status}`);
  }

  async alive(): Promise<void> {
    await this.#send('WATCHDOG=1');
  }

  async #send(...variables: string[]): Promise<void> {
    if (!this.#active) return;
    const result = await runTool('systemd-notify', variables, { timeoutMs: toolTimeoutMs }).catch(toAppError);
    if (result instanceof Error) this.#complain(`systemd was not told ${variables[0] ?? ''}: ${result.message}`);
    else if (result.exitCode !== 0) this.#complain(`systemd was not told ${variables[0] ?? ''}: ${result.stderr.trim()}`);
  }
}
