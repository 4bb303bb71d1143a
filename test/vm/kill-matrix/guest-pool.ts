import type { Rig } from '../../rig/rig.ts';
import { bootWatched, type WatchedGuest } from './lab.ts';

/** Guests that play one scenario after the other: booting is the dear part under software emulation. */
export class GuestPool {
  readonly rig: Rig;
  readonly #idle: WatchedGuest[] = [];
  #count = 0;

  constructor(rig: Rig) {
    this.rig = rig;
  }

  async take(): Promise<WatchedGuest> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    this.#count += 1;
    return bootWatched({ rig: this.rig, name: `pool${this.#count}` });
  }

  /** @param healthy it is thawed and its agent answers; one that is not is thrown away. */
  async giveBack(watched: WatchedGuest, healthy: boolean): Promise<void> {
    if (healthy) this.#idle.push(watched);
    else await watched.guest.remove();
  }
}
