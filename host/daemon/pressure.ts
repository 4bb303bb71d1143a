import { readFile } from 'node:fs/promises';
import type { Clock } from '../schedule/clock.ts';
import type { Claim, Gate } from '../trim/queue.ts';

const pressureFile = '/proc/pressure/io';
/** Under pressure trims of this host are begun one at a time, and at most so often: work is stretched, never stopped for good. */
const stretchMs = 60_000;

/** Reads `some avg10=…`: the share of the last ten seconds, in percent, in which something waited for I/O (Documentation/accounting/psi). */
export function parsePressure(text: string): number | null {
  const value = /^some avg10=(\d+(?:\.\d+)?)/m.exec(text)?.[1];
  return value === undefined ? null : Number(value);
}

/** This host's I/O pressure, and what it means for those who want to trim. Only for domains of this host: others' is not known here. */
export class PressureGate {
  readonly #clock: Clock;
  readonly #isLocal: (hypervisor: string) => boolean;
  readonly #file: string;
  /** Percent; above it, trims are stretched. 100 never is. */
  threshold: number;
  #percent: number | null = null;
  #lastBeginning = -Infinity;

  constructor(clock: Clock, threshold: number, isLocal: (hypervisor: string) => boolean, file: string = pressureFile) {
    this.#clock = clock;
    this.#isLocal = isLocal;
    this.#file = file;
    this.threshold = threshold;
  }

  /** The last reading; null where the kernel does not tell (PSI is off). */
  get percent(): number | null {
    return this.#percent;
  }

  async read(): Promise<void> {
    this.#percent = parsePressure(await readFile(this.#file, 'utf8').catch(() => ''));
  }

  readonly gate: Gate = (claim, running) => {
    if (!this.#isLocal(claim.hypervisor)) return null;
    const now = this.#clock.now();
    const why = this.#obstacle(running, now);
    if (why === null) this.#lastBeginning = now;
    return why;
  };

  #obstacle(running: readonly Claim[], now: number): string | null {
    if (this.#percent === null || this.#percent <= this.threshold) return null;
    const busy = running.some((claim) => this.#isLocal(claim.hypervisor)) || now - this.#lastBeginning < stretchMs;
    return busy ? `the host's I/O pressure to fall (${this.#percent} % is above ${this.threshold} %)` : null;
  }
}
