import type { createLogUpdate } from 'log-update';
import { cleanText } from '../../shared/clean-text.ts';
import { formatBytes, formatDuration } from '../../shared/units.ts';
import type { Measurement } from './measure.ts';

interface Running {
  readonly name: string;
  readonly startedAt: number;
  readonly read: () => Promise<readonly Measurement[]>;
  before: number | null;
  now: number | null;
}

function total(measurements: readonly Measurement[]): number | null {
  const known = measurements.filter((measurement) => measurement.bytes !== null);
  return known.length === 0 ? null : known.reduce((sum, measurement) => sum + (measurement.bytes ?? 0), 0);
}

/** The guests that trim at this moment, for a person at a terminal. guest-fstrim says nothing until it ends, so the images are watched. */
export class TrimProgress {
  readonly #running = new Map<string, Running>();
  readonly #terminal: NodeJS.WriteStream | null;
  #lines: ReturnType<typeof createLogUpdate> | null = null;
  readonly #timer: NodeJS.Timeout | null;
  #drawing = false;
  #stopped = false;

  /** @param terminal null where nobody watches: then only `names` is kept. */
  constructor(terminal: NodeJS.WriteStream | null) {
    this.#terminal = terminal;
    this.#timer = terminal === null ? null : setInterval(() => void this.#tick(), 500).unref();
  }

  begin(uuid: string, name: string, read: () => Promise<readonly Measurement[]>): void {
    this.#running.set(uuid, { name, read, startedAt: performance.now(), before: null, now: null });
  }

  end(uuid: string): void {
    this.#running.delete(uuid);
  }

  /** Guests whose guest-fstrim was sent and has not been answered. */
  get names(): string[] {
    return [...this.#running.values()].map((each) => each.name);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#lines?.clear();
  }

  /** A reading can take longer than a tick, and it can fail (libvirtd gone): neither is the trim's business. */
  async #tick(): Promise<void> {
    if (this.#drawing) return;
    this.#drawing = true;
    await this.#draw();
    this.#drawing = false;
  }

  async #draw(): Promise<void> {
    for (const each of this.#running.values()) {
      each.now = await each.read().then(total, () => null);
      each.before ??= each.now;
    }
    if (this.#terminal === null) return;
    this.#lines ??= (await import('log-update')).createLogUpdate(this.#terminal);
    if (this.#stopped) return;
    this.#lines?.(
      [...this.#running.values()]
        .map((each) => {
          const given = each.before === null || each.now === null ? '' : `, ${formatBytes(each.before - each.now)} given back`;
          return `trimming ${cleanText(each.name)}: ${formatDuration(performance.now() - each.startedAt)}${given}`;
        })
        .join('\n'),
    );
  }
}
