import { AppError } from '../../shared/errors.ts';
import { watchdogCommand } from '../../shared/qga/watchdog.ts';
import { freezeStatus, fsInfo, guestInfo, osInfo, type FreezeStatus } from '../agent/schema.ts';
import { parseDomainXml, type DomainDescription } from '../libvirt/domain-xml.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { mirrorJob, parseJobInfo, type ActiveJob } from '../libvirt/jobs.ts';
import type { VirshSession } from '../libvirt/session.ts';
import { callAgent, tryAgent } from './agent-session.ts';
import { freezableOf, type Freezable } from './freezable.ts';

/** A domain as it is before a freeze. */
export interface Subject {
  readonly domain: DomainDescription;
  /** As `virsh domstate` says: running, paused, shut off, … */
  readonly state: string;
  readonly job: ActiveJob | null;
}

/** Its guest, asked before the freeze: a frozen agent answers none of this. */
export interface GuestFacts {
  readonly isWindows: boolean;
  /** Our own agent, which thaws by itself after a time that the host sets. */
  readonly hasWatchdog: boolean;
  readonly freezable: Freezable | null;
  readonly status: FreezeStatus;
}

const libvirtMs = 10_000;

async function run(session: VirshSession, command: readonly string[]): Promise<string> {
  const answer = await session.run(command, libvirtMs);
  if (!answer.ok) throw answer.error;
  return answer.stdout;
}

/** Reads one domain over its session. @throws AppError as Connection does. */
export async function readSubject(session: VirshSession, ref: DomainRef): Promise<Subject> {
  const domain = parseDomainXml(await run(session, ['dumpxml', ref.uuid]));
  const state = (await run(session, ['domstate', ref.uuid])).trim();
  if (domain.id === null) return { domain, state, job: null };
  const job = mirrorJob(domain.disks) ?? parseJobInfo(await run(session, ['domjobinfo', ref.uuid]));
  return { domain, state, job };
}

/** Asks the guest, within `timeoutSeconds` for each question. @throws AppError as AgentClient does. */
export async function readGuestFacts(session: VirshSession, uuid: string, timeoutSeconds: number): Promise<GuestFacts> {
  const info = await callAgent(session, { uuid, command: 'guest-info', schema: guestInfo, timeoutSeconds });
  const status = await callAgent(session, { uuid, command: 'guest-fsfreeze-status', schema: freezeStatus, timeoutSeconds });
  const hasWatchdog = info.supported_commands.some((each) => each.name === watchdogCommand && each.enabled);
  if (status === 'frozen') return { isWindows: false, hasWatchdog, freezable: null, status };
  const disabled = ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw'].find(
    (name) => !info.supported_commands.some((each) => each.name === name && each.enabled),
  );
  if (disabled !== undefined) {
    throw new AppError(
      'agent-unsupported',
      `the guest's agent (${info.version}) does not offer ${disabled}, so the guest cannot be frozen`,
    );
  }
  // Old agents know neither; then the kind of guest is Linux's, and what a freeze should reach is unknown.
  const system = await tryAgent(session, { uuid, command: 'guest-get-osinfo', schema: osInfo, timeoutSeconds });
  const filesystems = await tryAgent(session, { uuid, command: 'guest-get-fsinfo', schema: fsInfo, timeoutSeconds });
  const isWindows = system.ok && system.value.id === 'mswindows';
  return { isWindows, hasWatchdog, freezable: filesystems.ok ? freezableOf(filesystems.value, isWindows) : null, status };
}
