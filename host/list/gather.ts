import pLimit from 'p-limit';
import { AgentClient } from '../agent/client.ts';
import { readKnownAgents, rememberAgents, type KnownAgent } from '../agent/known-agents.ts';
import { probeAgent, type ProbeResult } from '../agent/probe.ts';
import type { Connection } from '../libvirt/connection.ts';
import { blockOf } from '../libvirt/domain-stats.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type DomainRef, type UnreadableDomain } from '../libvirt/domains.ts';
import { lastTrims, readHistory, type HistoryEntry } from '../state/history.ts';
import { measureDisk, type Measurement } from '../trim/measure.ts';

export interface ListedDomain {
  readonly ref: DomainRef;
  readonly domain: Domain | UnreadableDomain;
  /** By disk target. */
  readonly allocation: ReadonlyMap<string, Measurement>;
  /** By disk target, bytes: the most that the image can come to take. */
  readonly commitment: ReadonlyMap<string, number>;
  readonly known: KnownAgent | null;
  /** Only with `--probe`, and only for an agent that is connected. */
  readonly probe: ProbeResult | null;
  readonly lastTrim: HistoryEntry | null;
}

export interface GatherOptions {
  readonly probe: boolean;
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
}

const probesAtOnce = 8;
const probeTimeoutSeconds = 5;

async function measureAll(connection: Connection, domain: Domain): Promise<Map<string, Measurement>> {
  const measured = new Map<string, Measurement>();
  for (const disk of domain.disks) {
    const stats = blockOf(domain.stats, disk.target);
    measured.set(disk.target, await measureDisk(disk, { isLocal: connection.uri.isLocal, stats, running: domain.id !== null }));
  }
  return measured;
}

/** What a probe teaches: kept, so that the next `list` knows it without asking. */
function learn(probes: ReadonlyMap<string, ProbeResult>): Map<string, KnownAgent> {
  const checkedAt = new Date().toISOString();
  const learned = new Map<string, KnownAgent>();
  for (const [uuid, probe] of probes) {
    if (!probe.ok) continue;
    learned.set(uuid, { kind: probe.facts.kind, version: probe.facts.info.version, os: probe.facts.osText, checkedAt });
  }
  return learned;
}

async function probeAll(
  connection: Connection,
  domains: readonly (Domain | UnreadableDomain)[],
  signal: AbortSignal,
): Promise<Map<string, ProbeResult>> {
  const client = new AgentClient(connection);
  const limit = pLimit(probesAtOnce);
  const probes = new Map<string, ProbeResult>();
  await Promise.all(
    domains.map((domain) =>
      limit(async () => {
        if (isUnreadable(domain) || domain.state !== 'running' || domain.channel !== 'connected') return;
        probes.set(domain.uuid, await probeAgent(connection, client, domain.uuid, { timeoutSeconds: probeTimeoutSeconds, signal }));
      }),
    ),
  );
  return probes;
}

/** Everything `list` shows. Two virsh processes whatever the number of domains; with `--probe` two more for each agent. */
export async function gatherList(connection: Connection, options: GatherOptions): Promise<ListedDomain[]> {
  const refs = await listDomains(connection, { signal: options.signal });
  const domains = await readDomains(connection, refs, { signal: options.signal });
  const probes = options.probe ? await probeAll(connection, domains, options.signal) : new Map<string, ProbeResult>();
  const learned = learn(probes);
  await rememberAgents(options.stateDirectory, learned);
  const known = new Map([...(await readKnownAgents(options.stateDirectory)), ...learned]);
  const trims = lastTrims(await readHistory(options.stateDirectory));
  const listed: ListedDomain[] = [];
  for (const [index, domain] of domains.entries()) {
    const ref = refs[index] ?? domain;
    listed.push({
      ref,
      domain,
      allocation: isUnreadable(domain) ? new Map() : await measureAll(connection, domain),
      commitment: new Map(),
      known: known.get(ref.uuid) ?? null,
      probe: probes.get(ref.uuid) ?? null,
      lastTrim: trims.get(ref.uuid) ?? null,
    });
  }
  return listed;
}
