import type { DomainRef } from '../libvirt/domains.ts';

/**
 * What a lease's files say (host/quiesce/guard.sh lists them). They are lines and words, not JSON, because the guard is a shell program.
 */

/** Written once, before the freeze; never changed. */
export interface LeaseRecord {
  readonly id: string;
  readonly uuid: string;
  /** The domain's name at that time; for display. */
  readonly name: string;
  /** As for `virsh -c`; '' is libvirt's default. */
  readonly uri: string;
  readonly virsh: string;
  /** libvirt's id of this run of QEMU. */
  readonly domainId: number | null;
  /** The host's boot, whose clock the deadline is on. */
  readonly bootId: string;
  /** Connections on which a migrated guest is looked for. */
  readonly peers: readonly string[];
  /** libvirt's timeout for one thaw, seconds. */
  readonly thawSeconds: number;
  readonly leaseSeconds: number;
  readonly user: string;
  readonly host: string;
  /** Who asked, for `hook post` to find it again; '' without a hook. */
  readonly caller: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** How far a lease is. Times are in hundredths of a second of the boot clock. */
export type Phase =
  | { readonly is: 'armed' | 'freezing' | 'unknown' | 'refused' | 'thawed' }
  | { readonly is: 'frozen'; readonly count: number; readonly sinceCentis: number };

/** What the guard found in the end. */
export interface GuardResult {
  /** `ended`: this run of QEMU is over; `moved`: the domain is somewhere where nobody told us to look. */
  readonly is: 'thawed' | 'ended' | 'moved';
  /** What all thaw calls together returned. */
  readonly count: number | null;
  readonly atCentis: number;
}

const keys: readonly (readonly [string, keyof LeaseRecord])[] = [
  ['id', 'id'], // first: guard.sh compares the first line
  ['uuid', 'uuid'],
  ['name', 'name'],
  ['uri', 'uri'],
  ['virsh', 'virsh'],
  ['domid', 'domainId'],
  ['boot', 'bootId'],
  ['peers', 'peers'],
  ['patience', 'thawSeconds'],
  ['seconds', 'leaseSeconds'],
  ['user', 'user'],
  ['host', 'host'],
  ['caller', 'caller'],
  ['created', 'createdAt'],
];

function formatValue(value: LeaseRecord[keyof LeaseRecord]): string {
  if (Array.isArray(value)) return value.join(' ');
  return value === null ? '' : String(value).replaceAll(/[\n\r\0]/g, ' ');
}

export function formatRecord(record: LeaseRecord): string {
  return keys.map(([key, field]) => `${key}=${formatValue(record[field])}\n`).join('');
}

/** @returns null for a text that is no record, or half of one. */
export function parseRecord(text: string): LeaseRecord | null {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 1));
  }
  const get = (key: string): string => values.get(key) ?? '';
  if (!keys.every(([key]) => values.has(key)) || !/^[0-9a-f]{16}$/.test(get('id'))) return null;
  return {
    id: get('id'),
    uuid: get('uuid'),
    name: get('name'),
    uri: get('uri'),
    virsh: get('virsh'),
    domainId: get('domid') === '' ? null : Number(get('domid')),
    bootId: get('boot'),
    peers: get('peers')
      .split(' ')
      .filter((peer) => peer !== ''),
    thawSeconds: Number(get('patience')),
    leaseSeconds: Number(get('seconds')),
    user: get('user'),
    host: get('host'),
    caller: get('caller'),
    createdAt: get('created'),
  };
}

export function formatPhase(phase: Phase): string {
  return phase.is === 'frozen' ? `frozen ${phase.count} ${phase.sinceCentis}\n` : `${phase.is}\n`;
}

/** @returns null for a text that is no phase. */
export function parsePhase(text: string): Phase | null {
  const [is, count, since] = text.trim().split(' ');
  switch (is) {
    case 'armed':
    case 'freezing':
    case 'unknown':
    case 'refused':
    case 'thawed':
      return { is };
    case 'frozen':
      return { is, count: Number(count), sinceCentis: Number(since) };
    default:
      return null;
  }
}

/** @returns null for a text that is no result, or is being written. */
export function parseResult(text: string): GuardResult | null {
  const match = /^(thawed|ended|moved) (\d+|-) (\d+)\n$/.exec(text);
  if (match === null) return null;
  return { is: match[1] as GuardResult['is'], count: match[2] === '-' ? null : Number(match[2]), atCentis: Number(match[3]) };
}

export function domainRefOf(record: LeaseRecord): DomainRef {
  return { uuid: record.uuid, name: record.name };
}
