import { AppError, toAppError } from '../../shared/errors.ts';
import { watchdogCommand, watchdogMaxSeconds } from '../../shared/qga/watchdog.ts';
import * as z from 'zod/mini';
import { freezeStatus, frozenCount } from '../agent/schema.ts';
import type { Connection } from '../libvirt/connection.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { VirshSession } from '../libvirt/session.ts';
import { callAgent, tryAgent } from './agent-session.ts';
import { readBootCentis, readBootId } from './boot-clock.ts';
import type { FrozenFacts } from './consistency.ts';
import { checkDomain, checkGuest, windowsFreezeSeconds } from './eligibility.ts';
import { faultPoint } from './fault.ts';
import { freezeFailure } from './freeze-outcome.ts';
import { armGuard, readGuardProgram, type GuardInfo } from './guard.ts';
import { createLease, isStillLease, leaseDirectory, readLease, writeDeadline, writePhase } from './lease-files.ts';
import { markOf, setMarkCommand } from './lease-mark.ts';
import type { LeaseRecord, Phase } from './lease-record.ts';
import type { Held } from './held.ts';
import { newLeaseRecord } from './new-record.ts';
import { readGuestFacts, readSubject, type GuestFacts, type Subject } from './subject.ts';

export interface HoldOptions {
  readonly stateDirectory: string;
  readonly leaseSeconds: number;
  /** Freeze only these; null for all. */
  readonly mountpoints: readonly string[] | null;
  readonly force: boolean;
  readonly windows: boolean;
  readonly caller: string;
  readonly peers: readonly string[];
  readonly warn: (text: string) => void;
}

const quickSeconds = 5;
const windowsThawSeconds = 60;
const maxFreezeSeconds = 30;
/** The mark is set when this guest is ready, the deadline counts from the freeze, which waits for the others: nobody may take it for over before. */
const othersCentis = 3000;

/** libvirt's timeout for the freeze: within the lease, so that the guest is held for some of it. */
export function freezeSeconds(leaseSeconds: number, isWindows: boolean): number {
  return isWindows ? windowsFreezeSeconds : Math.max(1, Math.min(maxFreezeSeconds, Math.floor(leaseSeconds / 2)));
}

/**
 * One guest on its way into the window: `prepare` does everything slow (the lease is written, the guard is armed), `freeze` only freezes.
 * Whatever happens in between, the lease says what may have been done to the guest, and `release` (release.ts) takes it back.
 */
export class Hold implements Held {
  readonly connection: Connection;
  readonly session: VirshSession;
  readonly ref: DomainRef;
  readonly options: HoldOptions;
  subject: Subject | null = null;
  facts: GuestFacts | null = null;
  /** The guest is paused: it stands still without us, and nothing was frozen. */
  paused = false;
  record: LeaseRecord | null = null;
  phase: Phase = { is: 'armed' };
  deadlineCentis = 0;
  guard: GuardInfo | null = null;
  /** What freeze answered; null until it has. */
  frozenCount: number | null = null;
  sinceCentis = 0;
  /** performance.now() when the freeze was sent; null where another process sent it. */
  frozenAtMs: number | null = null;

  constructor(connection: Connection, ref: DomainRef, options: HoldOptions) {
    this.connection = connection;
    this.session = VirshSession.open(connection);
    this.ref = ref;
    this.options = options;
  }

  get directory(): string {
    return leaseDirectory(this.options.stateDirectory, this.ref.uuid);
  }

  /** Records how far we are, before the step that makes it true. */
  enter(phase: Phase): void {
    this.phase = phase;
    writePhase(this.directory, phase);
  }

  /** It ran when we froze it, some moments ago, over this very connection. */
  isSameRun(): Promise<boolean> {
    return Promise.resolve(true);
  }

  get thawSeconds(): number {
    return this.record?.thawSeconds ?? quickSeconds;
  }

  /** Wall time of the deadline, ISO 8601. For display: nothing is decided by it. */
  get deadline(): string {
    return new Date(Date.now() + (this.deadlineCentis - readBootCentis()) * 10).toISOString();
  }

  get frozenFacts(): FrozenFacts {
    return {
      frozenCount: this.frozenCount ?? 0,
      expectedCount: this.facts?.freezable?.expectedCount ?? null,
      mountpoints: this.options.mountpoints,
      isWindows: this.facts?.isWindows ?? false,
    };
  }

  /**
   * Checks the guest, writes the lease, arms the guard. Nothing is frozen when it throws, but a lease may be there.
   * @throws AppError `busy`, `refused`, and all that reaching the guest can throw.
   */
  async prepare(): Promise<void> {
    const { leaseSeconds } = this.options;
    const now = { bootId: readBootId(), centis: readBootCentis(), wallMs: Date.now() };
    await this.#refuseOwnLease();
    this.subject = await readSubject(this.session, this.ref);
    if (checkDomain(this.subject, this.options, now) === 'paused') {
      this.paused = true;
      return;
    }
    this.facts = await readGuestFacts(this.session, this.ref.uuid, quickSeconds);
    checkGuest(this.ref.name, this.facts, this.options);
    faultPoint('before-lease');
    this.record = this.#newRecord();
    this.deadlineCentis = readBootCentis() + Math.round(leaseSeconds * 100);
    if ((await createLease(this.options.stateDirectory, this.record, this.deadlineCentis, readGuardProgram())) === null) {
      this.record = null;
      await this.#refuseOwnLease();
      throw new AppError('busy', `${this.ref.name}: another lease was just taken`);
    }
    faultPoint('after-lease');
    const { info, status } = await armGuard(this.directory, this.record);
    this.guard = info;
    faultPoint('after-guard');
    if (status === 'frozen') throw this.#foreign();
    await this.#mark(this.record);
    faultPoint('after-metadata');
    if (this.facts.hasWatchdog) await this.setWatchdog(leaseSeconds);
    faultPoint('after-watchdog');
  }

  /** Sets the time after which our own agent thaws by itself. A guest that refuses is still guarded from here. */
  async setWatchdog(seconds: number): Promise<void> {
    const set = await tryAgent(this.session, {
      uuid: this.ref.uuid,
      command: watchdogCommand,
      arguments: { seconds: Math.min(Math.max(1, Math.ceil(seconds)), watchdogMaxSeconds) },
      schema: z.object({ seconds: z.int() }),
      timeoutSeconds: quickSeconds,
    });
    if (!set.ok) this.options.warn(`${this.ref.name}: the agent's own watchdog could not be set: ${set.error.message}`);
  }

  /**
   * Freezes. On success the guest is frozen, and the lease says so.
   * @throws AppError `refused` for somebody else's freeze; after any other error the lease's phase says what may have happened.
   */
  async freeze(): Promise<void> {
    const { uuid, name } = this.ref;
    const { session } = this;
    const seconds = freezeSeconds(this.options.leaseSeconds, this.facts?.isWindows === true);
    const status = await callAgent(session, { uuid, command: 'guest-fsfreeze-status', schema: freezeStatus, timeoutSeconds: quickSeconds });
    if (status === 'frozen') throw this.#foreign();
    if (!isStillLease(this.directory, this.record?.id ?? ''))
      throw new AppError('busy', `${name}: the lease was ended by somebody else; nothing was frozen`);
    // The lease counts from here: what was slow is behind us, and no guard acts on a deadline while the phase is `armed`.
    this.deadlineCentis = readBootCentis() + Math.round(this.options.leaseSeconds * 100);
    writeDeadline(this.directory, this.deadlineCentis);
    this.enter({ is: 'freezing' });
    faultPoint('after-phase-freezing');
    this.sinceCentis = readBootCentis();
    this.frozenAtMs = performance.now();
    const { mountpoints } = this.options;
    const call = tryAgent(session, {
      uuid,
      ...(mountpoints === null
        ? { command: 'guest-fsfreeze-freeze' }
        : { command: 'guest-fsfreeze-freeze-list', arguments: { mountpoints } }),
      schema: frozenCount,
      timeoutSeconds: seconds,
      waitMs: (seconds + 2) * 1000,
    });
    faultPoint('after-freeze-sent');
    const answer = await call;
    faultPoint('after-freeze-answered');
    if (!answer.ok) {
      await this.#failed(answer.error);
      throw answer.error;
    }
    this.frozenCount = answer.value;
    this.enter({ is: 'frozen', count: answer.value, sinceCentis: this.sinceCentis });
    faultPoint('after-phase-frozen');
    // We may have been stopped for longer than the lease between the check and the call.
    if (this.#expired())
      throw new AppError('agent-silent', `${name}: the freeze was answered only after the lease had run out; thawed again`);
  }

  #expired(): boolean {
    return readBootCentis() >= this.deadlineCentis || !isStillLease(this.directory, this.record?.id ?? '');
  }

  #foreign(): AppError {
    return new AppError('refused', `${this.ref.name}: somebody else froze it just now; whoever froze it has to thaw it`);
  }

  /** Puts into the lease what the failure of the freeze call means. */
  async #failed(error: AppError): Promise<void> {
    const { uuid } = this.ref;
    let failure = freezeFailure(error.code);
    if (failure === 'ask') {
      const call = { uuid, command: 'guest-fsfreeze-status', schema: freezeStatus, timeoutSeconds: quickSeconds };
      const status = await tryAgent(this.session, call);
      // "Blocked" is an answer: whatever is frozen now, we did not freeze it.
      failure = !status.ok || status.value === 'thawed' ? 'never-sent' : 'foreign';
    }
    if (failure === 'answered') this.enter({ is: 'frozen', count: 0, sinceCentis: this.sinceCentis });
    else if (failure === 'unknown') this.enter({ is: 'unknown' });
    else this.enter({ is: 'refused' });
    if (failure === 'foreign') throw this.#foreign();
  }

  async #refuseOwnLease(): Promise<void> {
    const lease = await readLease(this.directory);
    if (lease === null) return;
    const { record, owners } = lease;
    const owner = owners[0] === undefined ? 'its command has ended' : `process ${owners[0].pid} works with it`;
    throw new AppError(
      'busy',
      `${this.ref.name}: is held by lease ${record.id} of ${record.user} since ${record.createdAt} (${owner}); thaw it with: virt-trim thaw ${this.ref.name}`,
      { context: { leaseId: record.id } },
    );
  }

  #newRecord(): LeaseRecord {
    return newLeaseRecord(this.connection, this.ref, {
      domainId: this.subject?.domain.id ?? null,
      peers: this.options.peers,
      thawSeconds: this.facts?.isWindows === true ? windowsThawSeconds : quickSeconds,
      leaseSeconds: this.options.leaseSeconds,
      caller: this.options.caller,
    });
  }

  /** Without the right to write metadata the lease is as good here, but nobody else sees it, and it is not found after a migration. */
  async #mark(record: LeaseRecord): Promise<void> {
    const answer = await this.session.run(
      setMarkCommand(this.ref.uuid, markOf(record, this.deadlineCentis + othersCentis, this.deadline)),
      10_000,
    );
    if (answer.ok) return;
    const error = toAppError(answer.error);
    if (error.code === 'connection-lost' || error.code === 'connect-timeout') throw error;
    this.options.warn(`${this.ref.name}: the lease could not be put into the domain's live metadata: ${error.message}`);
  }
}
