/** How consistent a point-in-time copy is that was made in the window. `paused` ranks with `crash`. */
export type Consistency = 'application' | 'filesystem' | 'crash' | 'paused';

/** What `--require` takes. */
export type RequiredLevel = 'application' | 'filesystem' | 'crash';

const ranks: Readonly<Record<Consistency, number>> = { application: 2, filesystem: 1, crash: 0, paused: 0 };

export function satisfies(consistency: Consistency, required: RequiredLevel): boolean {
  return ranks[consistency] >= ranks[required];
}

export interface FrozenFacts {
  readonly frozenCount: number;
  /** How many filesystems can be frozen, as fsinfo tells; null where the agent would not say. */
  readonly expectedCount: number | null;
  /** Only these were asked for; null for all. */
  readonly mountpoints: readonly string[] | null;
  readonly isWindows: boolean;
}

export interface ThawFacts {
  /** What thaw answered; null where the answer was lost, or an error. */
  readonly thawedCount: number | null;
  /** The agent's own words, where thaw answered an error: it thawed by itself before (VSS, a watchdog). */
  readonly thawError: string | null;
  readonly leaseExpired: boolean;
  /** The run of QEMU ended in the window. */
  readonly ended: boolean;
}

export interface Verdict {
  readonly consistency: Consistency;
  /** Null where there is nothing to add. */
  readonly reason: string | null;
}

/** What a cut can have at best, known once the freeze has answered. */
export function consistencyAtFreeze(facts: FrozenFacts): Verdict {
  if (facts.frozenCount === 0) return { consistency: 'crash', reason: 'the guest froze no filesystem' };
  if (facts.mountpoints !== null) {
    const wanted = facts.mountpoints.length;
    if (facts.frozenCount < wanted) {
      return { consistency: 'crash', reason: `${facts.frozenCount} filesystems were frozen of ${wanted} that were named` };
    }
    return { consistency: 'filesystem', reason: `only ${facts.mountpoints.join(', ')}; all others are as after a crash` };
  }
  if (facts.expectedCount !== null && facts.frozenCount < facts.expectedCount) {
    return { consistency: 'crash', reason: `${facts.frozenCount} filesystems were frozen of ${facts.expectedCount} that can be` };
  }
  // VSS has asked every application that registered a writer; that is evidence. fsfreeze alone asks nobody.
  if (facts.isWindows) return { consistency: 'application', reason: null };
  return { consistency: 'filesystem', reason: null };
}

/** What the cut has, known once the guest is thawed. */
export function consistencyAfterThaw(frozen: FrozenFacts, thaw: ThawFacts): Verdict {
  const best = consistencyAtFreeze(frozen);
  if (best.consistency === 'crash') return best;
  const crash = (reason: string): Verdict => ({ consistency: 'crash', reason });
  if (thaw.ended) return crash('the guest was stopped or started anew in the window');
  if (thaw.leaseExpired) return crash('the lease ran out, and the guest was thawed, before the window was closed');
  if (thaw.thawError !== null) return crash(`the guest thawed by itself in the window: ${thaw.thawError}`);
  if (thaw.thawedCount === null) return crash("the thaw's answer was lost: that the guest stayed frozen cannot be shown");
  if (thaw.thawedCount === 0) return crash('nothing was frozen any more when the window was closed (rebooted, or thawed by somebody else)');
  if (thaw.thawedCount < frozen.frozenCount) {
    return crash(`${thaw.thawedCount} filesystems were thawed of ${frozen.frozenCount} frozen: some were thawed early`);
  }
  return best;
}
