import pLimit from 'p-limit';
import { AgentClient } from '../agent/client.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type DomainRef } from '../libvirt/domains.ts';
import { readPools } from '../libvirt/pools.ts';
import { hostOfUri, type BackendPlace } from '../trim/backend.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';

/** New domains are found at every look; what changed in the known ones, at every so-manieth. */
const fullLookEvery = 10;
/** For one domain. */
const questionMs = 10_000;
/** Questions to one hypervisor at a time; with many domains due at once, its daemon is not flooded. */
const questionsAtOnce = 4;

/**
 * One hypervisor and its domains as last seen. It stays known while it cannot be reached. Each has timers, processes and deadlines of its
 * own, so that one that hangs costs the others nothing.
 */
export class Hypervisor {
  readonly connection: Connection;
  readonly client: AgentClient;
  readonly name: string;
  readonly inTurn = pLimit(questionsAtOnce);
  #domains: ReadonlyMap<string, Domain> = new Map();
  #place: BackendPlace;
  #looks = 0;
  #looking: Promise<boolean> | undefined;
  #down: AppError | null = null;
  #seen = false;

  /** @throws AppError `usage` for what is no URI. */
  constructor(uri: string) {
    this.connection = new Connection(uri);
    this.client = new AgentClient(this.connection);
    this.name = this.connection.name;
    this.#place = { isLocal: this.connection.uri.isLocal, host: hostOfUri(this.connection.uri) };
  }

  get domains(): Domain[] {
    return [...this.#domains.values()];
  }

  get place(): BackendPlace {
    return this.#place;
  }

  /** Why it cannot be reached; null while it can. */
  get down(): AppError | null {
    return this.#down;
  }

  /** It was reached at least once. */
  get known(): boolean {
    return this.#seen;
  }

  /** Looks what is there. A look that still goes on is not doubled. @returns whether it could be reached. Never throws but `internal`. */
  async look(signal: AbortSignal): Promise<boolean> {
    this.#looking ??= this.#look(signal).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(signal: AbortSignal): Promise<boolean> {
    try {
      const refs = await listDomains(this.connection, { signal });
      const full = this.#looks % fullLookEvery === 0 || this.#down !== null;
      const unread = full ? refs : refs.filter((ref) => !this.#domains.has(ref.uuid));
      if (full && !this.#place.isLocal) this.#place = { ...this.#place, pools: await readPools(this.connection, { signal }) };
      const read = await readDomains(this.connection, unread, { signal });
      const fresh = new Map(read.flatMap((domain) => (isUnreadable(domain) ? [] : [[domain.uuid, domain] as const])));
      this.#domains = new Map(
        refs.flatMap(({ uuid }) => {
          const domain = fresh.get(uuid) ?? this.#domains.get(uuid);
          return domain === undefined ? [] : [[uuid, domain] as const];
        }),
      );
      this.#looks += 1;
      this.#seen = true;
      this.#down = null;
      return true;
    } catch (thrown) {
      this.fault(thrown);
      return false;
    }
  }

  /** Everything is read anew at the next look. */
  forgetDetails(): void {
    this.#looks = 0;
  }

  /** Reads one domain as it is now. @throws AppError what Connection throws, and what makes it unreadable. */
  async read(ref: DomainRef, signal: AbortSignal): Promise<Domain> {
    const [domain] = await this.inTurn(() => readDomains(this.connection, [ref], { timeoutMs: questionMs, signal }));
    if (domain === undefined) throw toAppError(new Error('no answer'));
    if (isUnreadable(domain)) throw domain.error;
    this.#domains = new Map(this.#domains).set(domain.uuid, domain);
    return domain;
  }

  /** Notes an error that means that it cannot be reached; others are not its fault. @throws what is an error of ours. */
  fault(thrown: unknown): void {
    const error = toAppError(thrown);
    if (error.code === 'internal') throw thrown;
    if (isConnectionCode(error.code)) this.#down = error;
  }
}

const connectionCodes = ['connect-failed', 'connect-timeout', 'connection-lost', 'permission-denied', 'virsh-missing'] as const;

/** Whether an error says something about a hypervisor and nothing about a domain. */
export function isConnectionCode(code: string | null): code is (typeof connectionCodes)[number] {
  return (connectionCodes as readonly (string | null)[]).includes(code);
}
