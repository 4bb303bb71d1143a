import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** A terminal whose other end is its stdin and stdout. */
const program = `
import os, pty, select, sys, tty
master, slave = pty.openpty()
tty.setraw(master)
print(os.ttyname(slave), flush=True)
while True:
    for fd in select.select([0, master], [], [])[0]:
        data = os.read(fd, 4096)
        if fd == 0 and not data:
            sys.exit()
        os.write(master if fd == 0 else 1, data)
`;

/** A serial line, played by a pseudo terminal: what is written at `path` is in `received`, and the other way round with `send`. */
export class Terminal implements AsyncDisposable {
  readonly #bridge: ChildProcessByStdio<Writable, Readable, null>;
  /** One character for each byte. */
  received = '';
  path = '';

  constructor() {
    this.#bridge = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#bridge.stdout.setEncoding('latin1').on('data', (text: string) => {
      this.received += text;
    });
  }

  /** Waits until `look` finds something in what was received. */
  async until<T>(look: (received: string) => T | undefined): Promise<T> {
    for (;;) {
      const found = look(this.received);
      if (found !== undefined) return found;
      await sleep(10);
    }
  }

  send(bytes: string): void {
    this.#bridge.stdin.write(bytes, 'latin1');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((end) => this.#bridge.once('exit', end));
    this.#bridge.stdin.end();
    this.#bridge.kill('SIGKILL');
    await ended;
  }
}

export async function openTerminal(): Promise<Terminal> {
  const terminal = new Terminal();
  terminal.path = await terminal.until((received) => (received.includes('\n') ? received.split('\n')[0] : undefined));
  terminal.received = '';
  return terminal;
}
