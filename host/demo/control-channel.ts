import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { AppError } from '../../shared/errors.ts';

/** What a shell command in the guest left. `status` is null when it had not ended in time: it may still run. */
export interface GuestRun {
  readonly status: number | null;
  /** stdout and stderr together. */
  readonly output: string;
}

/**
 * Runs shell commands in a tiny guest over a virtio port of its own (`tiny-control.sh`), apart from any agent, and also while its
 * file systems are frozen. Commands run beside each other; one that blocks holds up no other.
 */
export class ControlChannel implements Disposable {
  readonly #path: string;
  #socket: Socket | undefined;
  #nextId = 1;
  readonly #waiting = new Map<string, (answer: GuestRun) => void>();

  constructor(path: string) {
    this.#path = path;
  }

  /** A command sent before the guest has booted waits in QEMU until the guest opens the port. */
  async run(command: string, timeoutMs: number): Promise<GuestRun> {
    const socket = await this.#connect();
    const id = String(this.#nextId++);
    return new Promise((resolve) => {
      const deadline = setTimeout(() => {
        this.#waiting.delete(id);
        resolve({ status: null, output: '' });
      }, timeoutMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(deadline);
        resolve(answer);
      });
      socket.write(`${id} ${Buffer.from(`${command}\n`).toString('base64')}\n`);
    });
  }

  /** Forgets the connection; the next command makes a new one (after the guest was started anew, say). */
  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    for (const resolve of this.#waiting.values()) resolve({ status: null, output: '' });
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #connect(): Promise<Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed) return this.#socket;
    const socket = createConnection(this.#path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) => reject(new AppError('io', `${this.#path}: the guest's control port cannot be reached`, { cause })));
    });
    socket.unref();
    const lost = (): void => {
      if (this.#socket === socket) this.close();
    };
    socket.on('error', lost);
    socket.on('close', lost);
    createInterface({ input: socket })
      .on('line', (line) => this.#receive(line))
      .on('error', lost); // it passes its input's errors on
    this.#socket = socket;
    return socket;
  }

  #receive(line: string): void {
    const [id = '', status = '', output = ''] = line.split(' ');
    const resolve = this.#waiting.get(id);
    if (resolve === undefined) return;
    this.#waiting.delete(id);
    resolve({ status: Number(status), output: Buffer.from(output, 'base64').toString() });
  }
}
