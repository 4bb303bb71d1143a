import { DOMImplementation, XMLSerializer } from '@xmldom/xmldom';
import { metadataNamespace } from '../libvirt/domain-xml.ts';
import type { DomainDescription } from '../libvirt/domain-xml.ts';
import type { LeaseRecord } from './lease-record.ts';

/**
 * The short copy of a lease in the domain's live metadata. It tells other users and hosts who froze the guest, and it goes where this run
 * of QEMU goes: through save and restore, and with a migration. `guard.sh` knows the namespace too.
 */
export const leaseNamespace = `${metadataNamespace}/lease`;
const prefix = 'virt-trim-lease';

export interface LeaseMark {
  readonly id: string;
  readonly host: string;
  readonly user: string;
  /** The host's boot, and the deadline on its clock in hundredths of a second: exact, but only there. */
  readonly bootId: string;
  readonly untilCentis: number;
  /** ISO 8601: for display, and for other hosts. */
  readonly since: string;
  readonly deadline: string;
}

export function markOf(record: LeaseRecord, untilCentis: number, deadline: string): LeaseMark {
  return { id: record.id, host: record.host, user: record.user, bootId: record.bootId, untilCentis, since: record.createdAt, deadline };
}

function formatMark(mark: LeaseMark): string {
  const document = new DOMImplementation().createDocument(null, 'lease');
  const element = document.documentElement;
  if (element === null) return '';
  const values = { id: mark.id, host: mark.host, user: mark.user, boot: mark.bootId, until: String(mark.untilCentis) };
  for (const [name, value] of Object.entries({ ...values, since: mark.since, deadline: mark.deadline })) element.setAttribute(name, value);
  return new XMLSerializer().serializeToString(document);
}

/** The virsh command that sets the mark. */
export function setMarkCommand(uuid: string, mark: LeaseMark): string[] {
  return ['metadata', uuid, leaseNamespace, '--key', prefix, '--set', formatMark(mark), '--live'];
}

/** The virsh command that removes it. */
export function removeMarkCommand(uuid: string): string[] {
  return ['metadata', uuid, leaseNamespace, '--remove', '--live'];
}

/** The mark in a domain's XML as it was read; null where there is none. */
export function readMark(domain: Pick<DomainDescription, 'metadata'>): LeaseMark | null {
  const lease = domain.metadata['lease'];
  const id = lease?.['id'];
  if (lease === undefined || id === undefined || !/^[0-9a-f]{16}$/.test(id)) return null;
  return {
    id,
    host: lease['host'] ?? '?',
    user: lease['user'] ?? '?',
    bootId: lease['boot'] ?? '',
    untilCentis: Number(lease['until'] ?? 0),
    since: lease['since'] ?? '',
    deadline: lease['deadline'] ?? '',
  };
}

/** Clocks of two hosts are never the same. */
const otherHostGraceMs = 60_000;

/** Whether the mark's lease has run out, by this host's boot clock where it is this boot's, else by wall time with a minute's grace. */
export function hasRunOut(mark: LeaseMark, now: { bootId: string; centis: number; wallMs: number }): boolean {
  if (mark.bootId === now.bootId) return now.centis > mark.untilCentis;
  const deadline = Date.parse(mark.deadline);
  return Number.isNaN(deadline) || now.wallMs > deadline + otherHostGraceMs;
}
