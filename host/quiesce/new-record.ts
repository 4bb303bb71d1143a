import { randomBytes } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import type { Connection } from '../libvirt/connection.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { readBootId } from './boot-clock.ts';
import type { LeaseRecord } from './lease-record.ts';

/** A lease's record with what is the same for all: who we are, which boot, which connection. */
export function newLeaseRecord(
  connection: Connection,
  ref: DomainRef,
  own: Pick<LeaseRecord, 'domainId' | 'peers' | 'thawSeconds' | 'leaseSeconds' | 'caller'>,
): LeaseRecord {
  return {
    ...own,
    id: randomBytes(8).toString('hex'),
    uuid: ref.uuid,
    name: ref.name,
    uri: connection.uri.text,
    virsh: connection.virsh,
    bootId: readBootId(),
    user: userInfo().username,
    host: hostname(),
    createdAt: new Date().toISOString(),
  };
}
