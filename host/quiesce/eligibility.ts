import { AppError } from '../../shared/errors.ts';
import { hasRunOut, readMark, type LeaseMark } from './lease-mark.ts';
import type { GuestFacts, Subject } from './subject.ts';

export interface EligibilityOptions {
  /** Freeze although a job runs or a manager does it by itself. */
  readonly force: boolean;
  readonly windows: boolean;
  readonly leaseSeconds: number;
}

/** What may be done with a domain: freeze it, or nothing because it stands still already. */
export type Eligibility = 'freeze' | 'paused';

function describe(mark: LeaseMark): string {
  return `${mark.user}@${mark.host} holds it since ${mark.since} until ${mark.deadline} (lease ${mark.id})`;
}

/**
 * Whether a domain may be frozen, by what libvirt says of it.
 * @throws AppError `refused`, `busy`, `domain-not-running`, `no-channel`, `agent-disconnected`.
 */
export function checkDomain(
  subject: Subject,
  options: EligibilityOptions,
  now: { bootId: string; centis: number; wallMs: number },
): Eligibility {
  const { domain, state, job } = subject;
  const { name } = domain;
  const mark = readMark(domain);
  if (mark !== null && !hasRunOut(mark, now)) throw new AppError('busy', `${name}: is frozen by somebody else: ${describe(mark)}`);
  if (state === 'paused') return 'paused';
  if (state !== 'running' && state !== 'idle') {
    throw new AppError('domain-not-running', `${name}: is ${state}; only a running guest can be frozen`);
  }
  if (job !== null && !options.force) {
    throw new AppError('refused', `${name}: not frozen, because a job is active (${job.kind}: ${job.detail}); wait for it, or --force`);
  }
  if (domain.manager !== null && !options.force) {
    throw new AppError(
      'refused',
      `${name}: not frozen, because it belongs to ${domain.manager}, which freezes by itself; --force to do it anyway`,
    );
  }
  if (domain.channel === 'absent') {
    throw new AppError('no-channel', `${name}: has no guest agent channel; run: virt-trim agent install ${name}`);
  }
  if (domain.channel !== 'connected') {
    throw new AppError('agent-disconnected', `${name}: no guest agent is running in it, so it cannot be frozen`);
  }
  return 'freeze';
}

/** VSS takes up to 60 s to prepare, then holds writes for 10 s (qemu-ga, vss-win32). */
export const windowsFreezeSeconds = 65;
export const windowsLeaseSeconds = 85;

/**
 * Whether a guest may be frozen, by what its agent says.
 * @throws AppError `refused`, `usage`.
 */
export function checkGuest(name: string, facts: GuestFacts, options: EligibilityOptions): void {
  if (facts.status === 'frozen') {
    throw new AppError('refused', `${name}: is frozen already, and not by a lease of ours; whoever froze it has to thaw it`);
  }
  if (!facts.isWindows) return;
  if (!options.windows) {
    throw new AppError(
      'refused',
      `${name}: runs Windows, where a freeze makes a full VSS backup and can truncate the logs of SQL Server or Exchange; --windows allows it (or: virt-trim policy set ${name} windows-freeze=yes)`,
    );
  }
  if (options.leaseSeconds < windowsLeaseSeconds) {
    throw new AppError(
      'usage',
      `${name}: runs Windows, whose freeze can take ${windowsFreezeSeconds} s; the lease must have ${windowsLeaseSeconds} s at least`,
    );
  }
}

/** QEMU, qga/vss-win32: VSS_BT_FULL is the default, VSS_BT_COPY is 5. */
export const vssWarning =
  'Windows: qemu-ga makes a full VSS backup by default, which can break the log chains of other backups; in the guest, set VssOption=5 (DWORD, copy) in HKLM\\SYSTEM\\CurrentControlSet\\Services\\QEMU Guest Agent VSS Provider';
