import type { Connection } from '../libvirt/connection.ts';
import { chooseDomains, isReadable } from '../policy/choose.ts';
import { diagnose } from '../doctor/diagnose.ts';
import { gatherFacts, type DomainCase } from '../doctor/gather/gather.ts';
import type { Verdict } from '../doctor/finding.ts';
import { frozenStateOf, readFrozenStates } from '../quiesce/frozen-state.ts';
import { gatherSizes } from '../sizes/run.ts';
import type { StorageSizes } from '../sizes/schema.ts';
import { lastTrims, readHistory } from '../state/history.ts';

/** What monitoring wants to know of one domain; null is unknown. */
export interface MonitoredDomain {
  readonly name: string;
  readonly uuid: string;
  readonly running: boolean;
  /** Only of a running domain. */
  readonly agentUp: boolean | null;
  readonly frozen: boolean | null;
  /** Milliseconds since the epoch; null also for a freeze of somebody else, whose beginning nobody wrote down. */
  readonly frozenSince: number | null;
  readonly lastTrimAt: number | null;
  readonly lastTrimOk: boolean | null;
  readonly reclaimedBytes: number | null;
  /** Of all trims in the history. */
  readonly reclaimedTotalBytes: number;
  readonly verdict: Verdict;
  readonly blocks: number;
  readonly restartPending: boolean;
}

export interface Monitored {
  readonly at: number;
  readonly domains: readonly MonitoredDomain[];
  /** Could not be read. */
  readonly unreadable: readonly string[];
  readonly storages: readonly StorageSizes[];
}

/** Gathers it all in one pass. Read-only. @throws what Connection throws. */
export async function gatherMonitored(
  connection: Connection,
  options: { readonly stateDirectory: string; readonly signal?: AbortSignal },
): Promise<Monitored> {
  const chosen = await chooseDomains(connection, [], { signal: options.signal });
  const { cases } = await gatherFacts(connection, chosen.filter(isReadable), {
    askAgents: true,
    probeStorage: false,
    signal: options.signal,
  });
  const [leases, history] = await Promise.all([readFrozenStates(options.stateDirectory), readHistory(options.stateDirectory)]);
  const { storages } = await gatherSizes(connection, { words: [], format: null, askGuests: false, sparsify: false }, options);
  const last = lastTrims(history);
  const totals = new Map<string, number>();
  for (const entry of history) totals.set(entry.uuid, (totals.get(entry.uuid) ?? 0) + Math.max(0, entry.reclaimedBytes ?? 0));
  const domains = cases.map((one): MonitoredDomain => {
    const { domain } = one.facts;
    const trim = last.get(domain.uuid) ?? null;
    return {
      ...describe(one, leases),
      lastTrimAt: trim === null ? null : Date.parse(trim.at),
      lastTrimOk: trim === null ? null : trim.status === 'ok',
      reclaimedBytes: trim?.reclaimedBytes ?? null,
      reclaimedTotalBytes: totals.get(domain.uuid) ?? 0,
    };
  });
  return { at: Date.now(), domains, unreadable: chosen.filter((one) => !isReadable(one)).map((one) => one.name), storages };
}

type Described = Omit<MonitoredDomain, 'lastTrimAt' | 'lastTrimOk' | 'reclaimedBytes' | 'reclaimedTotalBytes'>;

function describe(one: DomainCase, leases: Awaited<ReturnType<typeof readFrozenStates>>): Described {
  const { domain, agent } = one.facts;
  const diagnosis = diagnose(one);
  const frozen = frozenStateOf(domain, leases, agent?.ok === true ? agent.facts.frozen : null);
  const running = domain.id !== null;
  return {
    name: domain.name,
    uuid: domain.uuid,
    running,
    agentUp: running ? agent?.ok === true || (agent?.ok === false && agent.error.code === 'agent-frozen') : null,
    frozen: frozen.state === 'unknown' ? (running ? null : false) : frozen.state === 'frozen',
    frozenSince: frozen.state !== 'frozen' || frozen.since === null ? null : Date.parse(frozen.since),
    verdict: diagnosis.verdict,
    blocks: diagnosis.findings.filter((finding) => finding.verdict === 'blocks').length,
    restartPending: diagnosis.findings.some(
      (finding) => finding.fix?.needsColdStart === true && finding.fix.command.startsWith('virsh shutdown'),
    ),
  };
}
