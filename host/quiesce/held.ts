import type { Connection } from '../libvirt/connection.ts';
import { domainRefOf } from './lease-record.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { VirshSession } from '../libvirt/session.ts';
import { readBootId } from './boot-clock.ts';
import { claimLease } from './guard.ts';
import { writePhase, type LeaseState } from './lease-files.ts';
import { readMark } from './lease-mark.ts';
import type { LeaseRecord, Phase } from './lease-record.ts';

/** A guest under a lease that this process owns: what thawing it needs, whoever froze it. */
export interface Held {
  readonly connection: Connection;
  readonly session: VirshSession;
  readonly ref: DomainRef;
  readonly directory: string;
  readonly record: LeaseRecord | null;
  readonly phase: Phase;
  readonly frozenCount: number | null;
  readonly thawSeconds: number;
  enter(phase: Phase): void;
  /** Whether the domain still is the run of QEMU that was frozen; false where that cannot be told. */
  isSameRun(): Promise<boolean>;
}

/** A lease that another process left, taken over. */
export class AdoptedHold implements Held {
  readonly connection: Connection;
  readonly session: VirshSession;
  readonly ref: DomainRef;
  readonly directory: string;
  readonly record: LeaseRecord;
  phase: Phase;

  constructor(connection: Connection, lease: LeaseState) {
    this.connection = connection;
    this.session = VirshSession.open(connection);
    this.ref = domainRefOf(lease.record);
    this.directory = lease.directory;
    this.record = lease.record;
    this.phase = lease.phase;
  }

  get frozenCount(): number | null {
    return this.phase.is === 'frozen' ? this.phase.count : null;
  }

  get thawSeconds(): number {
    return this.record.thawSeconds;
  }

  enter(phase: Phase): void {
    this.phase = phase;
    writePhase(this.directory, phase);
  }

  /** By the lease's mark, which only this run has; or by libvirt's id, which is another after each start, but begins anew with the host. */
  async isSameRun(): Promise<boolean> {
    const answer = await this.session.run(['dumpxml', this.record.uuid], 10_000);
    if (!answer.ok) return false;
    const domain = parseDomainXml(answer.stdout);
    if (readMark(domain)?.id === this.record.id) return true;
    return this.record.bootId === readBootId() && domain.id !== null && domain.id === this.record.domainId;
  }
}

/** Takes a lease over. `refused`: a living process works with it; `gone`: it ended meanwhile. */
export async function adoptLease(connection: Connection, lease: LeaseState): Promise<AdoptedHold | 'refused' | 'gone'> {
  const claimed = await claimLease(lease.directory);
  if (claimed !== 'done') return claimed;
  const held = new AdoptedHold(connection, lease);
  // Who was about to freeze is dead, and we never do: the guard need not wait for us any more.
  if (held.phase.is === 'freezing') held.enter({ is: 'unknown' });
  return held;
}
