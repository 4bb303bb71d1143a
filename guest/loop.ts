import { signalFlags } from './sys.ts';
import type { Sys } from './sys.ts';

/** Something that waits for a descriptor. */
export interface Source {
  /** -1 while there is nothing to wait for. */
  readonly fd: number;
  /** {@link pollFlags} */
  readonly wanted: number;
  onReady(events: number): void;
  /** A port's host came or went (SIGIO). */
  onSignal?(): void;
}

/** Something that has to be done at a time. */
export interface Alarm {
  /** Milliseconds; -1 for never. */
  readonly waitMs: number;
  tick(): void;
}

/** poll(2) and nothing else: while no host is connected and nothing is frozen it waits without a single wake-up. */
export class Loop {
  private readonly sys: Sys;
  private readonly sources: readonly Source[];
  private readonly alarm: Alarm;
  private readonly fds: number[] = [];
  private readonly wanted: number[] = [];
  private readonly events: number[] = [];

  constructor(sys: Sys, sources: readonly Source[], alarm: Alarm) {
    this.sys = sys;
    this.sources = sources;
    this.alarm = alarm;
  }

  /** One wait and what came of it. Returns the signals that came meanwhile. */
  turn(): number {
    for (let i = 0; i < this.sources.length; i++) {
      const source = this.sources[i];
      this.fds[i] = source?.fd ?? -1;
      this.wanted[i] = source?.wanted ?? 0;
    }
    const ready = this.sys.poll(this.fds, this.wanted, this.events, this.alarm.waitMs);
    const signals = ready > 0 ? 0 : this.sys.takeSignals();
    if (ready > 0) {
      for (let i = 0; i < this.sources.length; i++) {
        const events = this.events[i] ?? 0;
        if (events !== 0) this.sources[i]?.onReady(events);
      }
    }
    if (signals & signalFlags.io) for (const source of this.sources) source.onSignal?.();
    this.alarm.tick();
    return signals;
  }
}
