import { connect, type Socket } from 'node:net';

/** Where a guest of the rig with a scripted agent has its port. */
export const guestPortName = '/dev/virtio-ports/virt-trim.agent.0';

/**
 * The host's end of an agent's port, bytes as they are: no libvirt between, so that a test can send two requests at once, leave with
 * an answer pending, or come back.
 */
export class GuestPort {
  #socket: Socket | undefined;
  #received = '';
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async open(): Promise<void> {
    const socket = connect(this.path);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#received += text;
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.on('error', () => socket.destroy());
    this.#socket = socket;
    this.#received = '';
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** Reads nothing any more: the agent's answers pile up. */
  pause(): void {
    this.#socket?.pause();
  }

  send(bytes: string): void {
    this.#socket?.write(bytes, 'latin1');
  }

  /** Sends a request and waits for a line, without looking at it: for measuring. */
  exchange(bytes: string): Promise<void> {
    return new Promise((resolve) => {
      this.#socket?.once('data', () => {
        this.#received = '';
        resolve();
      });
      this.send(bytes);
    });
  }

  /** The next line the agent sends, parsed; undefined if none comes in time. */
  async next(timeoutMs: number): Promise<AgentAnswer | undefined> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const end = this.#received.indexOf('\n');
      if (end >= 0) {
        const line = this.#received.slice(0, end);
        this.#received = this.#received.slice(end + 1);
        return JSON.parse(line.replace(/^\xff/, '')) as AgentAnswer;
      }
      if (performance.now() > deadline) return undefined;
      await new Promise((resolve) => {
        setTimeout(resolve, 2);
      });
    }
  }

  async ask(execute: string, args?: unknown, timeoutMs = 60_000): Promise<AgentAnswer> {
    this.send(`${JSON.stringify(args === undefined ? { execute } : { execute, arguments: args })}\n`);
    const answer = await this.next(timeoutMs);
    if (answer === undefined) throw new Error(`${execute}: no answer in ${timeoutMs} ms`);
    return answer;
  }

  /** Until the agent answers: after a start, and after whatever was said before has passed by. */
  async synchronise(timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      const id = Math.floor(Math.random() * 2 ** 40);
      this.send(`${JSON.stringify({ execute: 'guest-sync', arguments: { id } })}\n`);
      for (;;) {
        const answer = await this.next(1000);
        if (answer === undefined) break;
        if (answer.return === id) return;
      }
    }
    throw new Error(`the agent did not answer in ${timeoutMs} ms`);
  }
}

export interface AgentAnswer {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly id?: unknown;
}
