import { describeWait, type Claim, type Turn } from '../trim/queue.ts';
import { toAppError } from '../../shared/errors.ts';
import type { EngineParts } from './engine-parts.ts';
import { beginOf, newEntry, type Entry } from './entry.ts';
import { planNext, putOff, tolerableLateMs } from './next-run.ts';
import type { AttemptEnd, RunReason, Target } from './target.ts';

/** While a hypervisor cannot be reached. */
const unreachableRetryMs = 60_000;

/**
 * Serves every domain at its times: once for each occurrence, once for any number of missed ones, never twice at a time. It knows
 * nothing of libvirt; what it does to a domain is given to it. Invariant: all occurrences up to `memory.covered(key)` are served.
 */
export class Engine {
  readonly #parts: EngineParts;
  readonly #entries = new Map<string, Entry>();
  readonly #active = new Set<Promise<void>>();
  #disarm: (() => void) | undefined;
  #armedFor = Infinity;
  #stopped = false;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Domains that are worked on, by phase. */
  targets(phase: Entry['phase']): Target[] {
    return [...this.#entries.values()].filter((entry) => entry.phase === phase).map(({ target }) => target);
  }

  /** Who waits for what, first come first. */
  waiting(): { readonly target: Target; readonly what: string }[] {
    const byClaim = new Map<Claim, Target>(
      [...this.#entries.values()].flatMap((entry) => (entry.claim === null ? [] : [[entry.claim, entry.target] as const])),
    );
    return this.#parts.queue.waiting.flatMap(({ claim, wait }) => {
      const target = byClaim.get(claim);
      return target === undefined ? [] : [{ target, what: describeWait(wait) }];
    });
  }

  /** The next runs of all domains, soonest first. */
  upcoming(): { readonly target: Target; readonly at: number; readonly reason: RunReason }[] {
    return [...this.#entries.values()]
      .flatMap(({ target, next, phase }) => (next === null || phase === 'running' ? [] : [{ target, at: next.at, reason: next.reason }]))
      .sort((a, b) => a.at - b.at);
  }

  get busy(): boolean {
    return this.#active.size > 0;
  }

  /** What is there now. Domains that are not in the list are forgotten, except that a trim which has begun is seen to its end. */
  update(targets: readonly Target[]): void {
    const now = this.#parts.clock.now();
    const present = new Set(targets.map((target) => target.key));
    for (const [key, entry] of this.#entries) {
      if (present.has(key) || entry.phase === 'running') continue;
      this.#entries.delete(key);
      entry.leave.abort();
    }
    for (const target of targets) this.#take(target, now);
    this.#wake();
  }

  #take(target: Target, now: number): void {
    const { memory } = this.#parts;
    const fingerprint = target.timetable?.fingerprint ?? '';
    // What was due while other settings held, or while it was excluded, is not missed.
    const moved = memory.fingerprint(target.key) !== fingerprint;
    if (moved) memory.cover(target.key, Math.max(now, memory.covered(target.key) ?? 0), fingerprint);
    memory.see(target.key, now);
    const entry = this.#entries.get(target.key);
    if (entry === undefined) {
      const fresh = newEntry(target);
      this.#entries.set(target.key, fresh);
      this.#plan(fresh, now);
    } else {
      entry.target = target;
      if (entry.phase === 'idle' && (moved || (entry.next === null) !== (target.timetable === null))) this.#plan(entry, now);
    }
  }

  /** Finds what is next for a domain. */
  #plan(entry: Entry, now: number): void {
    const { memory, spreadMissed, tell } = this.#parts;
    const { target } = entry;
    const planned = planNext(target, memory.covered(target.key) ?? now, now, spreadMissed);
    if (planned.forgiven) memory.cover(target.key, now, target.timetable?.fingerprint ?? '');
    entry.next = planned.next;
    if (planned.next?.reason === 'catch-up') tell({ type: 'missed', target, due: planned.next.due, at: planned.next.at });
  }

  /** Begins what is due and sleeps until the next is. */
  #wake(): void {
    if (this.#stopped) return;
    const now = this.#parts.clock.now();
    let soonest = Infinity;
    const due: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.phase !== 'idle' || entry.next === null) continue;
      if (now - entry.next.at > tolerableLateMs) this.#plan(entry, now);
      const at = beginOf(entry);
      if (at <= now) due.push(entry);
      else soonest = Math.min(soonest, at);
    }
    // Of those that come at once, the one that was served the longest ago goes first: nobody is always last.
    const served = ({ target }: Entry): number => this.#parts.memory.covered(target.key) ?? 0;
    for (const entry of due.sort((a, b) => beginOf(a) - beginOf(b) || served(a) - served(b))) this.#launch(entry);
    this.#arm(soonest);
  }

  #arm(time: number): void {
    this.#disarm?.();
    this.#armedFor = time;
    this.#disarm = Number.isFinite(time) ? this.#parts.clock.wakeAt(time, () => this.#wake()) : undefined;
  }

  #launch(entry: Entry): void {
    entry.phase = 'preparing';
    const task: Promise<void> = this.#serve(entry)
      .catch((thrown: unknown) => {
        if (toAppError(thrown).code !== 'interrupted') this.#parts.fail(thrown);
        entry.next = null;
      })
      .finally(() => {
        this.#active.delete(task);
        entry.phase = 'idle';
        if (entry.next === null) this.#plan(entry, this.#parts.clock.now());
        if (!this.#stopped && beginOf(entry) < this.#armedFor) this.#arm(beginOf(entry));
      });
    this.#active.add(task);
  }

  async #serve(entry: Entry): Promise<void> {
    const { clock, memory, prepare, tell } = this.#parts;
    const { next } = entry;
    if (next === null) return;
    const arrivedAt = clock.now();
    const prepared = await prepare(entry.target, entry.leave.signal);
    if (typeof prepared === 'string') {
      this.#postpone(entry, next.due, prepared, clock.now() + unreachableRetryMs);
      return;
    }
    entry.target = prepared;
    const { timetable } = prepared;
    if (timetable === null) {
      memory.cover(prepared.key, clock.now(), '');
      entry.next = null;
      return;
    }
    const turn = await this.#waitTurn(entry);
    try {
      // Excluded while it waited: nothing more is due, and nothing is owed.
      if (entry.target.timetable === null) {
        entry.next = null;
        return;
      }
      const beginsAt = clock.now();
      const obstacle = this.#parts.obstacle(prepared);
      if (obstacle !== null) {
        this.#postpone(entry, next.due, obstacle, beginsAt + unreachableRetryMs);
        return;
      }
      if (!timetable.isOpen(beginsAt)) {
        this.#postpone(entry, next.due, 'its maintenance window has closed', timetable.allowed(beginsAt));
        return;
      }
      entry.phase = 'running';
      entry.turn = turn;
      const before = memory.covered(prepared.key) ?? 0;
      memory.cover(prepared.key, beginsAt, timetable.fingerprint);
      // On disk before the guest is asked: a daemon that dies now must not do it again.
      const unsaved = await memory.save().then(() => null, toAppError);
      if (unsaved !== null) {
        memory.cover(prepared.key, before, timetable.fingerprint);
        this.#postpone(entry, next.due, unsaved.message, timetable.allowed(beginsAt + unreachableRetryMs));
        return;
      }
      tell({ type: 'started', target: prepared, reason: next.reason, due: next.due, waitedMs: beginsAt - arrivedAt });
      const end = await this.#parts.trim(prepared, { reason: next.reason, due: next.due, waitedMs: beginsAt - arrivedAt });
      this.#conclude(entry, next.due, before, beginsAt, end);
    } finally {
      entry.turn = null;
      turn.leave();
    }
  }

  /** A hypervisor is back: what was put off because of it is begun now, not when its time to try again comes. */
  hurry(hypervisor: string): void {
    const now = this.#parts.clock.now();
    for (const entry of this.#entries.values()) {
      const { next, target, phase } = entry;
      if (phase !== 'idle' || next?.reason !== 'retry' || target.hypervisor !== hypervisor || target.timetable === null) continue;
      entry.next = { ...next, at: Math.min(next.at, target.timetable.allowed(now)) };
    }
    this.#wake();
  }

  /**
   * A hypervisor that hangs keeps its trims' answers back, maybe for as long as a trim may take. Others need not wait for them: the places
   * are given back, though what was begun there may still be going on. @returns the domains.
   */
  giveUpPlaces(hypervisor: string): string[] {
    const stuck = [...this.#entries.values()].filter((entry) => entry.turn !== null && entry.target.hypervisor === hypervisor);
    for (const entry of stuck) {
      entry.turn?.leave();
      entry.turn = null;
    }
    return stuck.map(({ target }) => target.name);
  }

  async #waitTurn(entry: Entry): Promise<Turn> {
    const { target, leave } = entry;
    entry.phase = 'waiting';
    const claim = { label: target.name, hypervisor: target.hypervisor, backends: target.backends };
    entry.claim = claim;
    try {
      return await this.#parts.queue.enter(claim, leave.signal, (wait) =>
        this.#parts.tell({ type: 'waiting', target, what: describeWait(wait) }),
      );
    } finally {
      entry.claim = null;
    }
  }

  #conclude(entry: Entry, due: number, before: number, beganAt: number, end: AttemptEnd): void {
    const { clock, memory, tell } = this.#parts;
    const { target } = entry;
    const now = clock.now();
    const { timetable } = target;
    if (timetable === null) return;
    entry.next = null;
    const { again } = end;
    if (again === null) {
      entry.attempts = 0;
      entry.told = null;
    } else if (entry.attempts + 1 < again.attempts) {
      memory.cover(target.key, before, timetable.fingerprint);
      entry.attempts += 1;
      this.#postpone(entry, due, again.why, timetable.allowed(now + again.afterMs));
      return;
    } else {
      entry.attempts = 0;
      tell({ type: 'gave-up', target, why: again.why });
    }
    const passed = timetable.next(beganAt);
    if (passed !== null && passed.due <= now) {
      tell({ type: 'not-doubled', target, due: passed.due });
      memory.cover(target.key, now, timetable.fingerprint);
    }
  }

  #postpone(entry: Entry, due: number, why: string, until: number): void {
    entry.next = putOff(entry.target, due, until, this.#parts.clock.now());
    if (entry.next.reason === 'schedule') entry.attempts = 0;
    // Told once, not every minute for as long as it lasts.
    if (entry.told !== why) this.#parts.tell({ type: 'postponed', target: entry.target, why, until: entry.next.at });
    entry.told = why;
  }

  /** Begins nothing more and sends away who waits. What runs goes on; `settled` tells its end. */
  stop(): void {
    this.#stopped = true;
    this.#disarm?.();
    for (const entry of this.#entries.values()) if (entry.phase !== 'running') entry.leave.abort();
  }

  /** When nothing is prepared, waits or runs any more. */
  async settled(): Promise<void> {
    while (this.#active.size > 0) await Promise.all(this.#active);
  }
}
