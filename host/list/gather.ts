import pLimit from 'p-limit';
import { AgentClient } from '../agent/client.ts';
import { readKnownAgents, rememberAgents, type KnownAgent } from '../agent/known-agents.ts';
import { probeAgent, type ProbeResult } from '../agent/probe.ts';
import type { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type DomainRef, type UnreadableDomain } from '../libvirt/domains.ts';
import { LayoutMeasurer } from '../sizes/commitment.ts';
import { sizeDomain } from '../sizes/gather.ts';
import type { DiskSizes } from '../sizes/schema.ts';
import { toAppError } from '../../shared/errors.ts';
import { lastTrims, readHistory, type HistoryEntry } from '../state/history.ts';

export interface ListedDomain {
  readonly ref: DomainRef;
  readonly domain: Domain | UnreadableDomain;
  /** The active layers of its disks. */
  readonly disks: readonly DiskSizes[];
  readonly known: KnownAgent | null;
  /** Only with `--probe`, and only for an agent that is connected. */
  readonly probe: ProbeResult | null;
  readonly lastTrim: HistoryEntry | null;
}

export interface GatherOptions {
  readonly probe: boolean;
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
  readonly warn: (text: string) => void;
}

const probesAtOnce = 8;
const probeTimeoutSeconds = 5;

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

/** A cache that cannot be written costs the next `list` its knowledge, not this one its answer. */
async function remember(learned: ReadonlyMap<string, KnownAgent>, options: GatherOptions): Promise<void> {
  try {
    await rememberAgents(options.stateDirectory, learned);
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'state-directory') throw thrown;
    options.warn(error.message);
  }
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

/** Everything `list` shows. Three virsh processes whatever the number of domains, one qemu-img for each size of image; with `--probe` two virsh more for each agent. */
export async function gatherList(connection: Connection, options: GatherOptions): Promise<ListedDomain[]> {
  const refs = await listDomains(connection, { signal: options.signal });
  const domains = await readDomains(connection, refs, { signal: options.signal });
  const probes = options.probe ? await probeAll(connection, domains, options.signal) : new Map<string, ProbeResult>();
  const learned = learn(probes);
  await remember(learned, options);
  const known = new Map([...(await readKnownAgents(options.stateDirectory)), ...learned]);
  const trims = lastTrims(await readHistory(options.stateDirectory));
  const sizing = { isLocal: connection.uri.isLocal, volumes: new Map<string, string>(), measurer: new LayoutMeasurer(), sparsify: false };
  const listed: ListedDomain[] = [];
  for (const [index, domain] of domains.entries()) {
    const ref = refs[index] ?? domain;
    const probe = probes.get(ref.uuid) ?? null;
    const sized = isUnreadable(domain) ? [] : await sizeDomain(domain, probe?.ok === true ? probe.facts.filesystems : null, sizing);
    listed.push({
      ref,
      domain,
      disks: sized.map(({ sizes }) => sizes).filter((sizes) => sizes.layer === 0),
      known: known.get(ref.uuid) ?? null,
      probe,
      lastTrim: trims.get(ref.uuid) ?? null,
    });
  }
  return listed;
}
