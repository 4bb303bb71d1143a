import type { Logger } from 'pino';
import { isConnectionCode, type Hypervisor } from './hypervisor.ts';
import type { Target } from './target.ts';

/** What the daemon says of hypervisors and settings: a change once, not every minute for as long as it lasts. */
export class Voice {
  readonly #log: Logger;
  /** Hypervisors that were said to be down. */
  readonly #saidDown = new Set<string>();
  readonly #excluded = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  sayPlacesGiven({ name }: Hypervisor, domains: readonly string[]): void {
    if (domains.length === 0) return;
    this.#log.warn({ event: 'places', hypervisor: name, domains }, 'it does not answer: others no longer wait for what was begun there');
  }

  sayReach({ name, down, domains }: Hypervisor): void {
    if (down !== null && isConnectionCode(down.code) && !this.#saidDown.has(name)) {
      this.#saidDown.add(name);
      this.#log.error(
        { event: 'hypervisor-down', hypervisor: name, code: down.code },
        `${down.message} (tried every minute; its domains are trimmed when it is back)`,
      );
    } else if (down === null && this.#saidDown.delete(name)) {
      this.#log.info({ event: 'hypervisor-up', hypervisor: name, domains: domains.length }, 'it answers again');
    }
  }

  /** `broken`: its settings cannot be read. */
  sayExcluded({ key, name, excluded }: Target, broken: boolean): void {
    if (!broken || excluded === null) {
      this.#excluded.delete(key);
    } else if (this.#excluded.get(key) !== excluded) {
      this.#excluded.set(key, excluded);
      this.#log.error({ event: 'settings', domain: name }, `${excluded}; it is not trimmed until that is mended`);
    }
  }
}
