import { EAGAIN, EINTR } from './errno.ts';
import { pollFlags } from './sys.ts';
import type { Sys } from './sys.ts';
import type { Source } from './loop.ts';

export type Transport = 'virtio-serial' | 'isa-serial' | 'unix-listen';

export interface ChannelSettings {
  readonly sys: Sys;
  readonly transport: Transport;
  /** The port, or the listening socket. */
  readonly fd: number;
  readonly onBytes: (bytes: string, plain: boolean) => void;
  readonly onClientLeft: () => void;
}

/** As much as a virtio port gives at once: whether the host has left is looked at after so many requests. */
const readBytes = 4096;
/** Answers that the host has not fetched; while there are more, no request is read. */
const maxUnsentBytes = 1 << 20;

/**
 * The connection to the host. A virtio port that nobody holds open on the host reports POLLHUP for ever, so it is taken out of
 * the poll and SIGIO says when somebody comes. What was not read when the client left is dropped, and so are its answers.
 */
export class Channel implements Source {
  private readonly settings: ChannelSettings;
  /** The client's descriptor; for a socket -1 while nobody is connected. */
  private client: number;
  private hungUp = false;
  private unsent = '';
  private broken: number | undefined;

  constructor(settings: ChannelSettings) {
    this.settings = settings;
    this.client = settings.transport === 'unix-listen' ? -1 : settings.fd;
  }

  /** Why the port cannot be used any more; it would report that for ever. */
  get brokenBy(): number | undefined {
    return this.broken;
  }

  get fd(): number {
    if (this.broken !== undefined) return -1;
    if (this.client < 0) return this.settings.fd;
    return this.hungUp ? -1 : this.client;
  }

  get wanted(): number {
    if (this.unsent === '') return pollFlags.in;
    return this.unsent.length > maxUnsentBytes ? pollFlags.out : pollFlags.in | pollFlags.out;
  }

  send(bytes: string): void {
    if (this.client < 0 || this.hungUp) return;
    if (this.unsent !== '') {
      this.unsent += bytes;
      return;
    }
    const written = this.settings.sys.write(this.client, bytes);
    if (written === bytes.length) return;
    this.unsent = written > 0 ? bytes.slice(written) : bytes;
  }

  onReady(events: number): void {
    if (this.client < 0) this.acceptClient();
    else if (events & (pollFlags.hangUp | pollFlags.error)) this.lose();
    else {
      if (events & pollFlags.out) this.flush();
      if (events & pollFlags.in) this.receive();
    }
  }

  onSignal(): void {
    if (this.hungUp) this.lookForHost();
  }

  private acceptClient(): void {
    const fd = this.settings.sys.accept(this.settings.fd);
    if (fd >= 0) this.client = fd;
  }

  private flush(): void {
    const written = this.settings.sys.write(this.client, this.unsent);
    if (written > 0) this.unsent = this.unsent.slice(written);
  }

  private receive(): void {
    const bytes = this.settings.sys.read(this.client, readBytes);
    if (typeof bytes === 'string') {
      if (bytes === '') this.lose();
      else this.settings.onBytes(bytes, this.settings.sys.readWasPlain());
    } else if (bytes !== -EAGAIN && bytes !== -EINTR) {
      if (this.settings.transport === 'unix-listen') this.lose();
      else this.broken = bytes;
    }
  }

  /** The client is gone. */
  private lose(): void {
    const { sys, transport, onClientLeft } = this.settings;
    this.unsent = '';
    if (transport === 'unix-listen') {
      sys.close(this.client);
      this.client = -1;
    } else {
      this.drain();
      this.hungUp = true;
      sys.setAsync(this.client, true);
    }
    onClientLeft();
    // Whoever came before SIGIO was switched on is seen here.
    if (this.hungUp) this.lookForHost();
  }

  private lookForHost(): void {
    const events: number[] = [];
    const ready = this.settings.sys.poll([this.client], [pollFlags.in | pollFlags.out], events, 0);
    if (ready < 0 || ((events[0] ?? 0) & pollFlags.hangUp) !== 0) return;
    this.settings.sys.setAsync(this.client, false);
    this.hungUp = false;
  }

  /** Requests of a client that is gone must not run for the next one. */
  private drain(): void {
    for (;;) {
      const bytes = this.settings.sys.read(this.client, readBytes);
      if (typeof bytes === 'number' || bytes === '') return;
    }
  }
}
