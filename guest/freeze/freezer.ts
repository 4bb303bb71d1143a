import type { GuestFreezeStatus } from '../../shared/qga/types.ts';
import { watchdogExpiredPrefix } from '../../shared/qga/watchdog.ts';
import type { WatchdogReturn } from '../../shared/qga/watchdog.ts';
import type { Finish, Job } from '../command.ts';
import { errorWords } from '../errno.ts';
import type { Log } from '../log.ts';
import { chooseFreezeOrder } from '../mounts/freeze-order.ts';
import { openFilesystem, readMounts } from '../mounts/mount-table.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import type { Worker } from '../worker.ts';
import { FreezeRun } from './freeze-run.ts';
import type { Marker } from './marker.ts';
import { reopenRecorded } from './restore.ts';
import { thawHeld, thawOthers, thawUnreachable } from './thaw.ts';
import type { Held } from './thaw.ts';

export interface FreezerSettings {
  readonly sys: Sys;
  readonly log: Log;
  readonly worker: Worker;
  readonly marker: Marker;
  /** Of a freeze for which nobody set another. */
  readonly defaultSeconds: number;
}

/** How long after a thaw that failed at its deadline it is tried again. */
const retryMs = 5000;

/**
 * The frozen state: what is frozen, through which descriptors, until when. Invariant: whatever this agent froze is in `held` (or,
 * after a restart, `unreachable` is set) until it is thawed, and as long as anything is there a deadline runs.
 */
export class Freezer {
  private readonly settings: FreezerSettings;
  private held: Held[] = [];
  /** A predecessor froze something that no path leads to any more. */
  private unreachable = false;
  private frozen = false;
  private expiredAfter: number | undefined;
  private deadlineMs = 0;
  private seconds: number;
  private run: FreezeRun | undefined;

  constructor(settings: FreezerSettings) {
    this.settings = settings;
    this.seconds = settings.defaultSeconds;
  }

  get status(): GuestFreezeStatus {
    return this.frozen ? 'frozen' : 'thawed';
  }

  /** Milliseconds until {@link tick} has something to do; -1 for never. */
  get waitMs(): number {
    return this.frozen ? Math.max(0, Math.ceil(this.deadlineMs - this.settings.sys.bootMs())) : -1;
  }

  /** Takes over what a predecessor froze. Its deadline goes on; if that has passed, the first {@link tick} thaws. */
  restore(): void {
    const { sys, marker, defaultSeconds, log } = this.settings;
    const record = marker.read({ deadlineMs: sys.bootMs() + defaultSeconds * 1000, seconds: defaultSeconds });
    if (record === undefined) return;
    if (record.expired) {
      this.expiredAfter = record.seconds;
      return;
    }
    log.write('warning', 'the agent was ended while the guest was frozen: it stays frozen until it is thawed or its deadline comes');
    log.mute();
    this.frozen = true;
    this.seconds = record.seconds;
    // A clock that started anew must not make the freeze last longer than it was meant to.
    this.deadlineMs = Math.min(record.deadlineMs, sys.bootMs() + record.seconds * 1000);
    const { held, complete } = reopenRecorded(sys, record);
    this.held = held;
    this.unreachable = !complete;
  }

  /** Freezes what `paths` names, or everything. @throws QgaError when it cannot begin: then nothing is frozen */
  freeze(paths: readonly string[] | undefined, finish: Finish): Job {
    const { sys, log, worker } = this.settings;
    const targets = this.openTargets(paths);
    log.write('notice', `guest-fsfreeze called: ${targets.length} filesystems; thawed after ${this.seconds} s at the latest`);
    this.expiredAfter = undefined;
    this.frozen = true;
    this.deadlineMs = sys.bootMs() + this.seconds * 1000;
    this.record(targets);
    log.mute();
    this.run = new FreezeRun({
      sys,
      worker,
      targets,
      finish,
      onFrozen: (held) => this.held.push(held),
      onEnd: (error) => this.endRun(error),
    });
    this.run.next();
    return {
      abandon: () => this.stopRun('the client gave up'),
      makeWay: () => undefined,
    };
  }

  /** @throws QgaError once after the watchdog was quicker, or when a filesystem cannot be thawed */
  thaw(): number {
    const { sys, marker } = this.settings;
    if (this.expiredAfter !== undefined) {
      const seconds = this.expiredAfter;
      this.expiredAfter = undefined;
      marker.remove();
      throw new QgaError(`${watchdogExpiredPrefix} after ${seconds} seconds: what was copied since then is not consistent`);
    }
    this.stopRun('guest-fsfreeze-thaw has ended the freeze');
    const known = this.held;
    const { count, error } = this.thawHeld();
    const others = thawOthers(sys, known);
    if (error !== undefined) throw new QgaError(error);
    if (this.run === undefined) this.endFrozen();
    return count + others;
  }

  setWatchdog(seconds: number | undefined): WatchdogReturn {
    const { sys, defaultSeconds } = this.settings;
    const previous = this.seconds;
    if (seconds !== undefined) {
      this.seconds = seconds;
      if (this.frozen) {
        this.deadlineMs = sys.bootMs() + seconds * 1000;
        this.record(this.held);
      }
    }
    const answer = { seconds: this.seconds, 'previous-seconds': previous, 'default-seconds': defaultSeconds, status: this.status };
    return this.frozen ? { ...answer, 'remaining-ms': this.waitMs } : answer;
  }

  /** The watchdog: thaws what is frozen past its deadline. */
  tick(): void {
    const { sys, log, marker } = this.settings;
    if (!this.frozen || sys.bootMs() < this.deadlineMs) return;
    // A run that is still going on answers its own client; the late thaw of nobody is told then.
    const answered = this.run === undefined;
    this.stopRun(`${watchdogExpiredPrefix} after ${this.seconds} seconds, before all was frozen`);
    const { error } = this.thawHeld();
    if (error !== undefined || this.run !== undefined) {
      this.deadlineMs = sys.bootMs() + retryMs;
      return;
    }
    const seconds = this.seconds;
    this.endFrozen();
    log.write('warning', `${watchdogExpiredPrefix} after ${seconds} seconds: guest-fsfreeze-thaw did not come`);
    if (!answered) return;
    this.expiredAfter = seconds;
    marker.write({ deadlineMs: 0, seconds, expired: true, filesystems: [] });
  }

  /** @throws QgaError with everything closed again */
  private openTargets(paths: readonly string[] | undefined): Held[] {
    const { sys, log, worker } = this.settings;
    const mounts = readMounts(sys);
    const targets: Held[] = [];
    try {
      // All are opened before the first is frozen: to open a path may need a filesystem that is.
      for (const mount of chooseFreezeOrder(sys, mounts, paths)) {
        const fd = openFilesystem(sys, mount, mounts);
        if (fd === undefined) log.write('warning', `not frozen: nothing leads to ${mount.path}, another filesystem is mounted over it`);
        else targets.push({ mount, fd });
      }
      const started = worker.ensureStarted();
      if (started < 0) throw new QgaError(`failed to start a thread: ${errorWords(started)}`);
    } catch (thrown) {
      for (const target of targets) sys.close(target.fd);
      throw thrown;
    }
    return targets;
  }

  private stopRun(reason: string): void {
    if (this.run === undefined) return;
    this.run.stop(reason);
    this.thawHeld();
  }

  private endRun(error: string | undefined): void {
    const finish = this.run?.finish;
    this.run = undefined;
    if (error !== undefined) this.thawHeld();
    const count = this.held.length;
    if (count === 0) this.endFrozen();
    else this.record(this.held);
    finish?.(error === undefined ? { value: count } : { error });
  }

  private thawHeld(): { readonly count: number; readonly error?: string } {
    const { sys } = this.settings;
    const result = thawHeld(sys, this.held);
    this.held = result.failed;
    if (this.unreachable) this.unreachable = thawUnreachable(sys) < 0;
    return result;
  }

  private endFrozen(): void {
    const { log, marker, defaultSeconds } = this.settings;
    this.frozen = false;
    this.unreachable = false;
    this.seconds = defaultSeconds;
    marker.remove();
    log.unmute();
  }

  private record(held: readonly Held[]): void {
    const { marker, log } = this.settings;
    const filesystems = held.map(({ mount }) => ({ filesystem: mount.filesystem, path: mount.path }));
    const written = marker.write({ deadlineMs: this.deadlineMs, seconds: this.seconds, expired: false, filesystems });
    if (written < 0) log.write('warning', `the frozen state will not outlive this process: ${errorWords(written)}`);
  }
}
