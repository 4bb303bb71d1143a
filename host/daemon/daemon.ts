import pLimit from 'p-limit';
import type { Logger } from 'pino';
import type { Config } from '../policy/config.ts';
import type { Clock } from '../schedule/clock.ts';
import { TrimQueue } from '../trim/queue.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { recoverEverywhere } from './chores.ts';
import { Engine } from './engine.ts';
import { Hypervisor } from './hypervisor.ts';
import { tellEvent } from './journal.ts';
import { defaultLimits, limitsOf, urisOf } from './limits.ts';
import { ServiceMemory } from './memory.ts';
import { newSources, planDomain, planFleet, type Planned, type PlanSources } from './planner.ts';
import { PressureGate } from './pressure.ts';
import { Runner } from './runner.ts';
import type { DaemonStatus } from './status.ts';
import type { Target } from './target.ts';
import { Voice } from './voice.ts';

export interface DaemonParts {
  readonly clock: Clock;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly stateDirectory: string;
  readonly memory: ServiceMemory;
  /** `-c`; empty: the configuration's hosts, or libvirt's default. */
  readonly uris: readonly string[];
  readonly config: Config;
  /** Missed runs are spread over a window; not where we are started for a moment (`--once`). */
  readonly spreadMissed: boolean;
}

/** So long the first look at a hypervisor may hold up the start; one that takes longer is served when it answers. */
const startMs = 15_000;
const pressureEveryMs = 5000;

/** All hypervisors, what is planned for their domains, and who does it. It touches neither signals nor systemd (run.ts does). */
export class Daemon {
  readonly #parts: DaemonParts;
  readonly #engine: Engine;
  readonly #queue: TrimQueue;
  readonly #pressure: PressureGate;
  readonly #runner: Runner;
  /** Fires when nobody waits for running trims any more. */
  readonly #hard = new AbortController();
  /** Fires when nothing more is to be begun. */
  readonly #soft = new AbortController();
  readonly #planning = pLimit(1);
  #sources: PlanSources;
  #hypervisors = new Map<string, Hypervisor>();
  #planned = new Map<string, Planned>();
  #endMinutes = (): void => undefined;
  #unwatch = (): void => undefined;
  readonly #voice: Voice;

  constructor(parts: DaemonParts) {
    const { clock, memory, log, stateDirectory } = parts;
    this.#parts = parts;
    this.#voice = new Voice(log);
    this.#sources = newSources(parts.config, parts.env);
    const threshold = parts.config.limits.ioPressure?.value ?? defaultLimits.ioPressure;
    this.#pressure = new PressureGate(clock, threshold, (name) => this.#hypervisors.get(name)?.place.isLocal === true);
    this.#queue = new TrimQueue(limitsOf(parts.config), this.#pressure.gate);
    this.#runner = new Runner({ stateDirectory, memory, log, signal: this.#hard.signal });
    this.#engine = new Engine({
      clock,
      queue: this.#queue,
      memory,
      spreadMissed: parts.spreadMissed,
      prepare: (target, signal) => this.#prepare(target, signal),
      obstacle: ({ key }) => this.#planned.get(key)?.hypervisor.down?.message ?? null,
      trim: async (target, run) => {
        const planned = this.#planned.get(target.key);
        return planned === undefined ? { again: null } : this.#runner.trim(planned, run);
      },
      tell: (event) => tellEvent(log, event),
      fail: (thrown) => {
        const error = toAppError(thrown);
        log.error({ event: 'internal', code: error.code, stack: error.stack }, error.message);
      },
    });
    this.#connect(parts.config);
  }

  get busy(): boolean {
    return this.#engine.busy;
  }

  get hypervisors(): Hypervisor[] {
    return [...this.#hypervisors.values()];
  }

  /** Guests that were told to trim and have not answered. */
  get trimming(): string[] {
    return this.#runner.trimming;
  }

  /** Looks at all hypervisors, and then every minute. Returns when each has answered, or has had its chance. */
  async start(): Promise<void> {
    await this.#pressure.read();
    let given = (): void => undefined;
    const chance = new Promise<void>((resolve) => {
      given = this.#parts.clock.wakeAt(this.#parts.clock.now() + startMs, resolve);
    });
    await Promise.race([this.look(), chance]);
    given();
    this.#endMinutes = this.#parts.clock.everyMinute(() => this.#everyMinute());
    this.#watchPressure();
  }

  /** Looks what is there now, at each hypervisor apart from the others. */
  async look(): Promise<void> {
    await Promise.all(
      this.hypervisors.map(async (hypervisor) => {
        const wasDown = hypervisor.down !== null;
        // One that hangs is asked a second time before its trims lose their places.
        const reached = (await hypervisor.look(this.#soft.signal)) || (await hypervisor.look(this.#soft.signal));
        this.#voice.sayReach(hypervisor);
        if (!reached) this.#voice.sayPlacesGiven(hypervisor, this.#engine.giveUpPlaces(hypervisor.name));
        await this.#plan();
        if (reached && wasDown) this.#engine.hurry(hypervisor.name);
      }),
    );
  }

  /** Takes another configuration. @throws AppError `usage` for a bad URI in it; then all is as it was. */
  async reload(config: Config): Promise<void> {
    this.#connect(config);
    this.#sources = newSources(config, this.#parts.env);
    this.#pressure.threshold = config.limits.ioPressure?.value ?? defaultLimits.ioPressure;
    this.#queue.setLimits(limitsOf(config));
    for (const hypervisor of this.hypervisors) hypervisor.forgetDetails();
    await this.#plan();
    void this.#guarded(() => this.look());
  }

  #connect(config: Config): void {
    const next = new Map<string, Hypervisor>();
    for (const uri of urisOf(this.#parts.uris, config)) {
      const fresh = new Hypervisor(uri);
      next.set(fresh.name, this.#hypervisors.get(fresh.name) ?? fresh);
    }
    this.#hypervisors = next;
  }

  /** One at a time: a plan that was begun earlier must not overwrite a later one. */
  async #plan(): Promise<void> {
    return this.#planning(() => this.#planNow());
  }

  async #planNow(): Promise<void> {
    if (this.#soft.signal.aborted) return;
    const planned = await planFleet(this.hypervisors, this.#sources);
    this.#planned = new Map(planned.map((each) => [each.target.key, each]));
    for (const { target, policy } of planned) this.#voice.sayExcluded(target, policy === null);
    this.#engine.update(planned.map(({ target }) => target));
    this.#parts.memory.forgetGone(this.#parts.clock.now());
    await this.#parts.memory.save();
  }

  /** The last look before a domain takes a place: what it is now, and whether it can be reached at all. */
  async #prepare(target: Target, signal: AbortSignal): Promise<Target | string> {
    const known = this.#planned.get(target.key);
    if (known === undefined) return 'it has gone';
    const { hypervisor } = known;
    if (hypervisor.down !== null) return hypervisor.down.message;
    try {
      const domain = await hypervisor.read(target, signal);
      const planned = await planDomain(hypervisor, domain, this.#sources, target.key);
      this.#planned.set(target.key, planned);
      return planned.target;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
      hypervisor.fault(error);
      this.#voice.sayReach(hypervisor);
      return error.message;
    }
  }

  async #everyMinute(): Promise<void> {
    const { stateDirectory, log } = this.#parts;
    // Not awaited together: a guest that will not thaw must not keep us from looking, nor a host that hangs from thawing.
    await Promise.all([this.#guarded(() => this.look()), this.#guarded(() => recoverEverywhere(stateDirectory, this.hypervisors, log))]);
  }

  #watchPressure(): void {
    const { clock } = this.#parts;
    this.#unwatch = clock.wakeAt(clock.now() + pressureEveryMs, () => {
      void this.#guarded(async () => {
        await this.#pressure.read();
        this.#queue.pump();
        if (!this.#soft.signal.aborted) this.#watchPressure();
      });
    });
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'interrupted') this.#parts.log.error({ event: 'internal', code: error.code }, error.message);
    }
  }

  status(pid: number): DaemonStatus {
    const short = ({ uuid, name }: Target): { uuid: string; domain: string } => ({ uuid, domain: name });
    return {
      v: 1,
      pid,
      at: new Date(this.#parts.clock.now()).toISOString(),
      hypervisors: this.hypervisors.map(({ name, domains, down }) => ({
        uri: name,
        domains: domains.length,
        error: down?.message ?? null,
      })),
      running: this.#engine.targets('running').map(short),
      waiting: this.#engine.waiting().map(({ target, what }) => ({ ...short(target), for: what })),
      planned: this.#engine
        .upcoming()
        .filter(({ reason }) => reason !== 'schedule')
        .map(({ target, at, reason }) => ({ ...short(target), at: new Date(at).toISOString(), why: reason })),
      ioPressure: this.#pressure.percent,
      counts: this.#runner.counts,
    };
  }

  /** One line for `systemctl status`. */
  statusLine(): string {
    const { running, waiting, counts } = this.status(0);
    const [next] = this.#engine.upcoming();
    const soon = next === undefined ? 'nothing planned' : `next ${next.target.name} at ${new Date(next.at).toISOString()}`;
    return `${running.length} trimming, ${waiting.length} waiting, ${counts.ok} done, ${counts.failed} failed; ${soon}`;
  }

  /** Begins nothing more. What runs has `graceMs` to end; after that it is left to the guests. @returns who was left. */
  async stop(graceMs: number): Promise<string[]> {
    this.#soft.abort(new AppError('interrupted', 'the daemon stops'));
    this.#engine.stop();
    this.#endMinutes();
    this.#unwatch();
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#parts.clock.wakeAt(this.#parts.clock.now() + graceMs, resolve);
    });
    await Promise.race([this.#engine.settled(), late]);
    cancel();
    const left = this.trimming;
    this.#hard.abort(new AppError('interrupted', 'the daemon stops'));
    await this.#engine.settled();
    await this.#runner.settled();
    await this.#parts.memory.save();
    return left;
  }

  /** When nothing is prepared, waits or runs. */
  async idle(): Promise<void> {
    await this.#engine.settled();
    await this.#runner.settled();
  }
}
