import { setMaxListeners } from 'node:events';
import { AppError } from '../../shared/errors.ts';

/** What a trim occupies while it runs. */
export interface Claim {
  /** The domain, for those who wait for it. */
  readonly label: string;
  readonly hypervisor: string;
  /** Identities of `backendOf`; none for a domain whose disks are not known. */
  readonly backends: readonly string[];
}

export interface QueueLimits {
  /** Trims at once, in all. */
  readonly total: number;
  readonly perHypervisor: number;
  readonly perBackend: number;
}

/** Why a claim is not let in. */
export interface Wait {
  readonly for: 'turn' | 'total' | 'hypervisor' | 'backend' | 'pressure';
  /** The hypervisor, the backend, or the pressure in words. */
  readonly name: string;
  /** Domains that occupy it. */
  readonly holders: readonly string[];
}

/** A place in the queue that was granted. `leave` gives it back; a second call does nothing. */
export interface Turn {
  readonly leave: () => void;
}

/** Says why a claim must wait though the limits have room (the host is under I/O pressure), or null. */
export type Gate = (claim: Claim, running: readonly Claim[]) => string | null;

interface Waiting {
  readonly claim: Claim;
  readonly grant: () => void;
  /** How many that came later went first. */
  overtaken: number;
  wait: Wait;
}

/** So often may those behind go first, because what they need is free; then what it needs is kept free for it. */
const patience = 16;

const waitWords: Readonly<Record<Wait['for'], (name: string) => string>> = {
  backend: (name) => `storage backend ${name}`,
  hypervisor: (name) => `hypervisor ${name}`,
  total: () => 'the limit of trims at once',
  pressure: (name) => name,
  turn: (name) => `its turn behind ${name}`,
};

/** What a waiting claim waits for, in words. */
export function describeWait(wait: Wait): string {
  const some = wait.holders.slice(0, 5).join(', ');
  const by = some === '' ? '' : ` (held by ${some}${wait.holders.length > 5 ? ', …' : ''})`;
  return waitWords[wait.for](wait.name) + by;
}

/**
 * Who may trim now: at most so many in all, per hypervisor and per storage backend. First come, first served, except that one who
 * waits for a busy backend does not hold up those behind who need others. All that a claim needs is taken at once, so that no two
 * can wait for each other; and none is passed over for ever.
 */
export class TrimQueue {
  #limits: QueueLimits;
  readonly #gate: Gate;
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<Claim>();

  constructor(limits: QueueLimits, gate: Gate = () => null) {
    this.#limits = limits;
    this.#gate = gate;
  }

  get running(): Claim[] {
    return [...this.#running];
  }

  get waiting(): { claim: Claim; wait: Wait }[] {
    return this.#waiting.map(({ claim, wait }) => ({ claim, wait }));
  }

  /** New limits count for those who come; nobody who trims is sent away. */
  setLimits(limits: QueueLimits): void {
    this.#limits = limits;
    this.pump();
  }

  /**
   * Waits for a place. `onWait` is told once, if there is none at once.
   * @throws AppError `interrupted` when the signal fires before it is granted.
   */
  async enter(claim: Claim, signal: AbortSignal, onWait?: (wait: Wait) => void): Promise<Turn> {
    if (signal.aborted) throw interrupted(claim, signal);
    // As many wait on one signal as there are domains.
    setMaxListeners(0, signal);
    let granted = false;
    const turn = new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        const at = this.#waiting.findIndex((each) => each.claim === claim);
        if (at !== -1) this.#waiting.splice(at, 1);
        reject(interrupted(claim, signal));
        this.pump();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const grant = (): void => {
        granted = true;
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.push({ claim, grant, overtaken: 0, wait: { for: 'turn', name: '', holders: [] } });
    });
    this.pump();
    const mine = granted ? undefined : this.#waiting.find((each) => each.claim === claim);
    if (mine !== undefined) onWait?.(mine.wait);
    await turn;
    return {
      leave: () => {
        if (this.#running.delete(claim)) this.pump();
      },
    };
  }

  /** Lets in whoever fits. Called whenever something changed; also from outside, when the gate may have opened. */
  pump(): void {
    const reserved = new Map<string, string>();
    let passed: Waiting[] = [];
    for (let at = 0; at < this.#waiting.length;) {
      const entry = this.#waiting[at];
      if (entry === undefined) break;
      const wait = this.#obstacle(entry.claim, reserved);
      if (wait !== null) {
        entry.wait = wait;
        passed.push(entry);
        if (entry.overtaken >= patience) for (const backend of entry.claim.backends) reserved.set(backend, entry.claim.label);
        at += 1;
        continue;
      }
      this.#waiting.splice(at, 1);
      this.#running.add(entry.claim);
      for (const each of passed) each.overtaken += 1;
      entry.grant();
      if (this.#running.size >= this.#limits.total) passed = [];
    }
  }

  #obstacle(claim: Claim, reserved: ReadonlyMap<string, string>): Wait | null {
    const holders = (holds: (other: Claim) => boolean): string[] => [...this.#running].filter(holds).map(({ label }) => label);
    if (this.#running.size >= this.#limits.total) return { for: 'total', name: '', holders: holders(() => true) };
    const here = holders((other) => other.hypervisor === claim.hypervisor);
    if (here.length >= this.#limits.perHypervisor) return { for: 'hypervisor', name: claim.hypervisor, holders: here };
    for (const backend of claim.backends) {
      const there = holders((other) => other.backends.includes(backend));
      if (there.length >= this.#limits.perBackend) return { for: 'backend', name: backend, holders: there };
      const before = reserved.get(backend);
      if (before !== undefined) return { for: 'turn', name: before, holders: [] };
    }
    const pressure = this.#gate(claim, [...this.#running]);
    return pressure === null ? null : { for: 'pressure', name: pressure, holders: [] };
  }
}

function interrupted(claim: Claim, signal: AbortSignal): AppError {
  return new AppError('interrupted', `${claim.label}: not trimmed, interrupted while it waited its turn`, { cause: signal.reason });
}
