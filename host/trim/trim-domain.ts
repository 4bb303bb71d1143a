import picomatch from 'picomatch';
import type { AgentClient } from '../agent/client.ts';
import { probeAgent, offers, type AgentFacts } from '../agent/probe.ts';
import type { TrimAnswer } from '../agent/schema.ts';
import { explainDiscardPath, type DiscardPath } from '../doctor/discard-path.ts';
import { isTrimmable } from '../doctor/subject.ts';
import type { Connection } from '../libvirt/connection.ts';
import { blockOf } from '../libvirt/domain-stats.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import { isUnreadable, readDomains, type Domain, type DomainRef } from '../libvirt/domains.ts';
import { jobOf } from '../libvirt/jobs.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import { decideSkip } from './eligibility.ts';
import { usedBytesPerDisk } from './guest-usage.ts';
import { domainStatus, judgeDisk, type GuestTrim } from './judge.ts';
import { measureDisk, notMeasured, type Measurement } from './measure.ts';
import type { TrimCode, TrimmedDisk, TrimmedPath, TrimResult } from './schema.ts';
import { settle } from './settle.ts';

export interface TrimDomainOptions {
  readonly minimumBytes: number | null;
  /** For guest-fstrim; null takes the guest OS's default. */
  readonly timeoutSeconds: number | null;
  readonly force: boolean;
  readonly dryRun: boolean;
  /** Globs over target names: not measured. guest-fstrim knows no disks, so the guest trims them all the same. */
  readonly excludeDisks: readonly string[];
  readonly signal: AbortSignal;
  /** Told what its agent is, before the guest is asked to trim. */
  readonly onProbed?: ((domain: Domain, facts: AgentFacts) => void) | undefined;
  /** Told while the guest trims, so that progress can be shown. */
  readonly onTrimming?: ((domain: Domain, read: () => Promise<readonly Measurement[]>) => void) | undefined;
  /** Told when the guest's command has surely ended. */
  readonly onTrimmed?: ((domain: Domain) => void) | undefined;
}

/** What became of one domain, and whether it counts under --all. */
export interface TrimOutcome {
  readonly result: TrimResult;
  readonly neutral: boolean;
}

/** Windows defragments volume after volume with defrag.exe, for up to an hour; a Linux guest with a large backlog takes minutes. */
const defaultTimeoutSeconds = { windows: 3600, other: 1800 } as const;
const probeTimeoutSeconds = 5;
/** For one domain; a daemon that hangs must not keep others from its storage backend for longer. */
const readTimeoutMs = 10_000;

/** Trims one domain: read it, ask its agent, measure, guest-fstrim, measure until stable, explain. Never throws but for `interrupted`. */
export async function trimDomain(
  connection: Connection,
  client: AgentClient,
  ref: DomainRef,
  options: TrimDomainOptions,
): Promise<TrimOutcome> {
  const startedAt = performance.now();
  const finish = (part: Partial<TrimResult> & Pick<TrimResult, 'status'>, neutral = false): TrimOutcome => ({
    result: { ...emptyResult(ref), ...part, wallMs: Math.round(performance.now() - startedAt) },
    neutral,
  });
  try {
    const [[domain], [jobInfo]] = await Promise.all([
      readDomains(connection, [ref], { timeoutMs: readTimeoutMs, signal: options.signal }),
      connection.runAll([['domjobinfo', ref.uuid]], { signal: options.signal }),
    ]);
    if (domain === undefined || isUnreadable(domain)) return finish(failure(domain?.error ?? toAppError(new Error('no answer'))));
    const paths = new Map(domain.disks.map((disk) => [disk.target, explainDiscardPath(domain, disk)]));
    const job = domain.id === null ? null : jobOf(domain.disks, jobInfo);
    const skip = decideSkip(domain, job, paths, options.force);
    if (skip !== null) return finish({ status: 'skipped', code: skip.code, reason: skip.reason }, skip.neutral);
    const disks = domain.disks.filter((disk) => isTrimmable(disk) && !picomatch.isMatch(disk.target, [...options.excludeDisks]));
    const probe = await probeAgent(connection, client, domain.uuid, { timeoutSeconds: probeTimeoutSeconds, signal: options.signal });
    if (!probe.ok) return finish(failure(probe.error));
    options.onProbed?.(domain, probe.facts);
    const refusal = agentRefusal(probe.facts);
    if (refusal !== null) return finish({ status: 'failed', ...refusal });
    if (options.dryRun)
      return finish({ status: 'ok', reason: 'would be trimmed', disks: await dryRunDisks(connection, domain, disks, paths) });
    return finish(await trimMeasured(connection, client, domain, disks, paths, probe.facts, options));
  } catch (thrown) {
    const error = toAppError(options.signal.aborted ? options.signal.reason : thrown);
    if (error.code === 'interrupted') throw error;
    return finish(failure(error)); // also a mistake of ours: it must not cost the other domains their trim
  }
}

/** A result with nothing in it yet. */
export function emptyResult(ref: Pick<TrimResult, 'name' | 'uuid'>): TrimResult {
  return {
    name: ref.name,
    uuid: ref.uuid,
    status: 'ok',
    code: null,
    reason: null,
    disks: [],
    paths: [],
    guestTrimMs: null,
    wallMs: 0,
    guestStillRunning: false,
  };
}

function failure(error: AppError): Pick<TrimResult, 'status' | 'code' | 'reason'> {
  return { status: 'failed', code: error.code, reason: error.message };
}

/** An agent that is frozen or was told not to trim. */
function agentRefusal(facts: AgentFacts): { code: TrimCode; reason: string } | null {
  if (facts.frozen === 'frozen')
    return { code: 'agent-frozen', reason: 'its filesystems are frozen; a trim inside a freeze is never tried' };
  if (offers(facts.info, 'guest-fstrim')) return null;
  const known = facts.info.supported_commands.some((command) => command.name === 'guest-fstrim');
  return known
    ? { code: 'agent-blocked', reason: "the guest's administrator has blocked guest-fstrim (qemu-ga's block-rpcs)" }
    : { code: 'agent-unsupported', reason: `its agent (${facts.info.version}) does not know guest-fstrim` };
}

async function measureDisks(connection: Connection, domain: Domain, disks: readonly DiskDescription[]): Promise<Measurement[]> {
  return Promise.all(
    disks.map((disk) =>
      measureDisk(disk, { isLocal: connection.uri.isLocal, stats: blockOf(domain.stats, disk.target), running: domain.id !== null }),
    ),
  );
}

/** Re-reads what libvirt reports only where the measurement needs it: a local file is asked directly. */
function reader(connection: Connection, domain: Domain, disks: readonly DiskDescription[]): () => Promise<Measurement[]> {
  if (connection.uri.isLocal) return () => measureDisks(connection, domain, disks);
  return async () => {
    const [fresh] = await readDomains(connection, [domain]);
    return measureDisks(connection, fresh === undefined || isUnreadable(fresh) ? { ...domain, stats: null } : fresh, disks);
  };
}

async function dryRunDisks(
  connection: Connection,
  domain: Domain,
  disks: readonly DiskDescription[],
  paths: ReadonlyMap<string, DiscardPath>,
): Promise<TrimmedDisk[]> {
  const before = await measureDisks(connection, domain, disks);
  return disks.map((disk, index) => {
    const measurement = before[index];
    const path = paths.get(disk.target);
    return {
      target: disk.target,
      source: disk.source,
      format: disk.format,
      method: measurement?.method ?? 'none',
      beforeBytes: measurement?.bytes ?? null,
      afterBytes: null,
      reclaimedBytes: null,
      stable: false,
      reason: path === undefined || path.verdict === 'ok' ? (measurement?.reason ?? null) : path.message,
    };
  });
}

async function callGuestTrim(client: AgentClient, uuid: string, facts: AgentFacts, options: TrimDomainOptions): Promise<GuestTrim> {
  const startedAt = performance.now();
  const timeoutSeconds = options.timeoutSeconds ?? (facts.isWindows ? defaultTimeoutSeconds.windows : defaultTimeoutSeconds.other);
  const done = (paths: readonly TrimmedPath[], error: AppError | null): GuestTrim => ({
    paths,
    error,
    ms: Math.round(performance.now() - startedAt),
  });
  try {
    return done(readPaths(await client.trim(uuid, options.minimumBytes, { timeoutSeconds, signal: options.signal })), null);
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted') throw thrown;
    return done([], error);
  }
}

export function readPaths(answer: TrimAnswer): TrimmedPath[] {
  return (answer.paths ?? []).map(({ path, trimmed, error }) => ({ path, trimmedBytes: trimmed ?? null, error: error ?? null }));
}

async function trimMeasured(
  connection: Connection,
  client: AgentClient,
  domain: Domain,
  disks: readonly DiskDescription[],
  paths: ReadonlyMap<string, DiscardPath>,
  facts: AgentFacts,
  options: TrimDomainOptions,
): Promise<Partial<TrimResult> & Pick<TrimResult, 'status'>> {
  const read = reader(connection, domain, disks);
  const before = await read();
  options.onTrimming?.(domain, read);
  const trim = await callGuestTrim(client, domain.uuid, facts, options);
  if (!mayStillRun(trim.error)) options.onTrimmed?.(domain);
  // A libvirt that has just let a deadline pass is not asked again: the next would pass as well.
  const reread = trim.error?.code === 'connect-timeout' ? Promise.resolve(null) : readAgain(connection, domain, options.signal);
  const [settled, now] = await Promise.all([settle(read, { signal: options.signal }), reread]);
  const used = usedBytesPerDisk(domain.disks.filter(isTrimmable), facts.filesystems);
  const judged = disks.map((disk, index) =>
    judgeDisk(
      domain,
      {
        disk,
        before: before[index] ?? notMeasured,
        after: settled.measurements[index] ?? notMeasured,
        stable: settled.stable[index] === true,
        usedBytes: used.get(disk.target) ?? null,
        discard: paths.get(disk.target) ?? null,
        onlyDisk: used.size === 1,
      },
      trim,
    ),
  );
  return {
    ...domainStatus(judged, trim, now),
    disks: judged.map(({ disk }) => disk),
    paths: [...trim.paths],
    guestTrimMs: trim.error === null ? trim.ms : null,
    guestStillRunning: mayStillRun(trim.error),
  };
}

/** The command was handed over, and nobody has said that it ended. */
function mayStillRun(error: AppError | null): boolean {
  return error !== null && ['agent-silent', 'connection-lost', 'connect-timeout'].includes(error.code);
}

/** The domain after its trim; null where libvirt cannot say any more: what was measured stays true all the same. */
async function readAgain(connection: Connection, domain: Domain, signal: AbortSignal): Promise<Domain | null> {
  try {
    const [fresh] = await readDomains(connection, [domain], { signal });
    return fresh === undefined || isUnreadable(fresh) ? null : fresh;
  } catch (thrown) {
    const { code } = toAppError(thrown);
    if (code === 'interrupted' || code === 'internal') throw thrown;
    return null;
  }
}
