import type { Logger } from 'pino';
import { Connection } from '../libvirt/connection.ts';
import type { Domain } from '../libvirt/domains.ts';
import { listLeases, sweepLeases } from '../quiesce/lease-files.ts';
import { recoverLease, recoverMark, strayMark } from '../quiesce/recover.ts';
import { thawedLine } from '../quiesce/report.ts';
import type { QuiesceResult } from '../quiesce/result.ts';
import type { Hypervisor } from './hypervisor.ts';

/** Longer than this a round does not wait for one guest; the next one, a minute later, goes on. */
const waitMs = 30_000;

/** What `virt-trim recover` does, for all hypervisors: finishes what interrupted runs left. Read marks come from the last look. */
export async function recoverEverywhere(stateDirectory: string, hypervisors: readonly Hypervisor[], log: Logger): Promise<void> {
  await sweepLeases(stateDirectory);
  const leases = await listLeases(stateDirectory);
  const report = (result: QuiesceResult): void => {
    if (result.status === 'skipped') log.debug({ event: 'recover', domain: result.name, code: result.code }, thawedLine(result));
    else
      log.warn(
        { event: 'recover', domain: result.name, status: result.status, code: result.code, state: result.state },
        thawedLine(result),
      );
  };
  await Promise.all(leases.map(async (lease) => report(await recoverLease(new Connection(lease.record.uri), lease, waitMs))));
  await Promise.all(
    hypervisors.flatMap((hypervisor) =>
      hypervisor.down === null
        ? hypervisor.domains.map(async (domain) => recoverStray(stateDirectory, hypervisor, domain, leases, report))
        : [],
    ),
  );
}

async function recoverStray(
  stateDirectory: string,
  hypervisor: Hypervisor,
  domain: Domain,
  leases: Parameters<typeof strayMark>[1],
  report: (result: QuiesceResult) => void,
): Promise<void> {
  const mark = strayMark(domain, leases);
  if (mark !== null) report(await recoverMark(hypervisor.connection, stateDirectory, domain, mark, waitMs));
}
