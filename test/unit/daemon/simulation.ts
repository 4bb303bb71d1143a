import { setImmediate as tick } from 'node:timers/promises';
import type { Clock } from '../../../host/schedule/clock.ts';

interface Alarm {
  readonly time: number;
  readonly order: number;
  readonly call: () => void;
}

/** A clock that only moves when it is told to. Everything that was begun at one moment comes to rest before the next. */
export class SimulatedClock implements Clock {
  #now: number;
  #order = 0;
  #alarms: Alarm[] = []; // a binary heap
  readonly #cancelled = new Set<number>();

  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Alarms that are set. */
  get pending(): number {
    return this.#alarms.length - this.#cancelled.size;
  }

  wakeAt(time: number, call: () => void): () => void {
    const order = (this.#order += 1);
    this.#push({ time: Math.max(time, this.#now), order, call });
    return () => {
      if (this.#alarms.some((alarm) => alarm.order === order)) this.#cancelled.add(order);
    };
  }

  everyMinute(call: () => Promise<void>): () => void {
    let end = (): void => undefined;
    const again = (): void => {
      end = this.wakeAt(this.#now + 60_000, () => {
        void call();
        again();
      });
    };
    again();
    return () => end();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.wakeAt(this.#now + ms, resolve));
  }

  /** Runs everything up to and at `time`. */
  async runUntil(time: number): Promise<void> {
    await tick();
    for (let next = this.#alarms[0]; next !== undefined && next.time <= time; next = this.#alarms[0]) {
      this.#pop();
      if (this.#cancelled.delete(next.order)) continue;
      this.#now = Math.max(this.#now, next.time);
      next.call();
      await tick();
    }
    this.#now = Math.max(this.#now, time);
  }

  /** The machine is off or asleep: no alarm rings meanwhile. */
  leap(time: number): void {
    this.#now = time;
  }

  #before(a: number, b: number): boolean {
    const [first, second] = [this.#alarms[a], this.#alarms[b]];
    if (first === undefined || second === undefined) return first !== undefined;
    return first.time < second.time || (first.time === second.time && first.order < second.order);
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#alarms[a], this.#alarms[b]];
    if (first === undefined || second === undefined) return;
    this.#alarms[a] = second;
    this.#alarms[b] = first;
  }

  #push(alarm: Alarm): void {
    this.#alarms.push(alarm);
    for (let at = this.#alarms.length - 1; at > 0 && this.#before(at, (at - 1) >> 1); at = (at - 1) >> 1) this.#swap(at, (at - 1) >> 1);
  }

  #pop(): void {
    this.#swap(0, this.#alarms.length - 1);
    this.#alarms.pop();
    for (let at = 0; ;) {
      const child = this.#before(2 * at + 2, 2 * at + 1) ? 2 * at + 2 : 2 * at + 1;
      if (!this.#before(child, at)) break;
      this.#swap(child, at);
      at = child;
    }
  }
}
