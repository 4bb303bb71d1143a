import pLimit from 'p-limit';
import { AppError } from '../../shared/errors.ts';
import { freezeStatus } from '../agent/schema.ts';
import type { CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type DomainRef } from '../libvirt/domains.ts';
import { VirshSession } from '../libvirt/session.ts';
import { printEnvelope } from '../report/envelope.ts';
import { stateDirectory } from '../state/directory.ts';
import { callAgent } from './agent-session.ts';
import { satisfies, type RequiredLevel } from './consistency.ts';
import { adoptLease } from './held.ts';
import { leaseDirectory, listLeases, readLease, type LeaseState } from './lease-files.ts';
import { readMark } from './lease-mark.ts';
import { finishHeld, leaseResult, takeOver } from './recover.ts';
import { thawedLine } from './report.ts';
import { blankResult, type QuiesceResult } from './result.ts';
import { chooseRefs } from './choose-refs.ts';
import { failResult, statusOfWindow } from './window.ts';
import { adoptedVerdict } from './adopted-verdict.ts';

export interface ThawRequest {
  readonly command: string;
  readonly words: readonly string[];
  readonly all: boolean;
  /** Only guests that a lease of ours holds. */
  readonly leased: boolean;
  /** Thaw what somebody else froze. */
  readonly force: boolean;
  readonly waitMs: number;
  /** Only leases of this caller (`hook post`); '' for any. */
  readonly caller: string;
  /** No lease is an error: the caller made one, so it has run out (`hook post`). */
  readonly mustBeLeased: boolean;
  readonly require: RequiredLevel;
}

/** Under --all each takes a virsh of its own. */
const thawsAtOnce = 24;

/** `virt-trim thaw` */
export async function runThaw(context: CommandContext, request: ThawRequest): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const directory = stateDirectory(context.env);
  const refs = await refsOf(context, connection, request, await listLeases(directory));
  const limit = pLimit(thawsAtOnce);
  const results = await Promise.all(
    refs.map((ref) =>
      limit(() =>
        thawOne(connection, directory, ref, request).catch((thrown: unknown) => failResult(blankResult(ref.name, ref.uuid), thrown)),
      ),
    ),
  );
  // Under --all what is off or has no agent is neutral.
  const counted = request.all ? results.filter((result) => result.status !== 'failed' || result.wasOurs) : results;
  const status = statusOfWindow(counted);
  if (context.json) printEnvelope({ ...context, uri: connection.uri.text }, request.command, startedAt, status, results);
  else
    for (const result of counted)
      (result.status === 'ok' ? context.out : context.say)(`${thawedLine(result)}${result.status === 'ok' ? '\n' : ''}`);
  return status;
}

async function refsOf(
  context: CommandContext,
  connection: Connection,
  request: ThawRequest,
  leases: readonly LeaseState[],
): Promise<DomainRef[]> {
  const leased = leases.map(({ record }) => ({ uuid: record.uuid, name: record.name }));
  if (!request.all) return chooseRefs(connection, request.words, leased, context.signal);
  return request.leased ? leased : listDomains(connection, { signal: context.signal });
}

async function thawOne(connection: Connection, stateDirectory: string, ref: DomainRef, request: ThawRequest): Promise<QuiesceResult> {
  const blank = blankResult(ref.name, ref.uuid);
  const lease = await readLease(leaseDirectory(stateDirectory, ref.uuid));
  if (lease !== null && (request.caller === '' || lease.record.caller === request.caller)) return thawLeased(connection, lease, request);
  if (lease !== null) throw new AppError('busy', `${ref.name}: is held by a lease of '${lease.record.caller}', not of '${request.caller}'`);
  if (request.mustBeLeased) {
    const reason =
      'the lease had run out and the guest was thawed before this was called; what was copied since is crash-consistent at best';
    return {
      ...blank,
      status: 'failed',
      code: 'lease-expired',
      reason,
      consistency: 'crash',
      consistencyReason: reason,
      leaseExpired: true,
    };
  }
  if (request.leased) return { ...blank, status: 'skipped', code: 'not-leased', reason: 'no lease of ours holds it' };
  return thawUnleased(connection, stateDirectory, ref, request, blank);
}

async function thawLeased(connection: Connection, lease: LeaseState, request: ThawRequest): Promise<QuiesceResult> {
  const result = leaseResult(lease);
  const [owner] = lease.owners;
  const held =
    owner === undefined ? await adoptLease(lease.record.uri === '' ? connection : new Connection(lease.record.uri), lease) : 'refused';
  if (held === 'refused') {
    throw new AppError(
      'busy',
      `${lease.record.name}: process ${owner?.pid ?? '?'} works with lease ${lease.record.id} and thaws it itself`,
    );
  }
  if (held === 'gone')
    return { ...result, state: 'thawed', leaseExpired: true, reason: 'the lease has just run out; its guard has thawed the guest' };
  const { outcome, ...finished } = await finishHeld(held, result, request.waitMs);
  if (outcome === undefined || lease.phase.is !== 'frozen') return finished;
  const verdict = adoptedVerdict(lease.phase.count, outcome);
  const judged: QuiesceResult = { ...finished, consistency: verdict.consistency, consistencyReason: verdict.reason };
  if (judged.status !== 'ok' || satisfies(verdict.consistency, request.require)) return judged;
  return failResult(
    judged,
    new AppError('refused', `${request.require} consistency is required, but it is ${verdict.consistency}: ${verdict.reason ?? ''}`),
  );
}

/** A guest that no lease of ours holds: thawed already, or frozen by somebody else. */
async function thawUnleased(
  connection: Connection,
  stateDirectory: string,
  ref: DomainRef,
  request: ThawRequest,
  blank: QuiesceResult,
): Promise<QuiesceResult> {
  const session = VirshSession.open(connection);
  try {
    const status = await callAgent(session, { uuid: ref.uuid, command: 'guest-fsfreeze-status', schema: freezeStatus, timeoutSeconds: 5 });
    if (status === 'thawed') return { ...blank, state: 'thawed' };
  } finally {
    await session.close();
  }
  const domain = await readRunning(connection, ref);
  if (request.force) return takeOver(connection, stateDirectory, domain, null, blank, request.waitMs);
  const mark = readMark(domain);
  const who = mark === null ? 'somebody else, without a lease' : `${mark.user}@${mark.host} since ${mark.since} until ${mark.deadline}`;
  return {
    ...failResult(blank, new AppError('refused', `${ref.name}: was frozen by ${who}; --force thaws it all the same`)),
    state: 'frozen',
  };
}

async function readRunning(connection: Connection, ref: DomainRef): Promise<Domain> {
  const [domain] = await readDomains(connection, [ref]);
  if (domain === undefined || isUnreadable(domain)) throw domain?.error ?? new AppError('domain-unknown', `${ref.name}: has vanished`);
  return domain;
}
