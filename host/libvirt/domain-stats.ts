/** libvirt's numbers for a domain's state (include/libvirt/libvirt-domain.h, virDomainState). */
export const domainStates = ['no state', 'running', 'blocked', 'paused', 'shutting down', 'shut off', 'crashed', 'suspended'] as const;
export type DomainState = (typeof domainStates)[number];

/** Only the reasons that matter to us, by state (virDomain*Reason in the same header, numbers as there). */
const reasons: Readonly<Partial<Record<DomainState, Readonly<Record<number, string>>>>> = {
  running: {
    1: 'booted',
    2: 'migrated',
    3: 'restored',
    4: 'from snapshot',
    5: 'unpaused',
    7: 'save canceled',
    8: 'woken up',
    9: 'crashed',
    10: 'post-copy',
    11: 'post-copy failed',
  },
  paused: {
    1: 'user',
    2: 'migrating',
    3: 'saving',
    4: 'dumping',
    5: 'I/O error',
    6: 'watchdog',
    7: 'from snapshot',
    8: 'shutting down',
    9: 'creating snapshot',
    10: 'crashed',
    11: 'starting up',
    12: 'post-copy',
    13: 'post-copy failed',
    14: 'api error',
  },
  'shut off': { 1: 'shutdown', 2: 'destroyed', 3: 'crashed', 4: 'migrated', 5: 'saved', 6: 'failed', 7: 'from snapshot', 8: 'daemon' },
};

/** Bytes, `null` where libvirt gave none. Names as in `virsh domstats`; what they mean there differs from `domblkinfo` (docs/sizes.md). */
export interface BlockStats {
  readonly name: string;
  readonly path: string | null;
  readonly allocation: number | null;
  readonly capacity: number | null;
  readonly physical: number | null;
}

export interface DomainStats {
  readonly name: string;
  readonly state: DomainState;
  readonly stateReason: string | null;
  readonly blocks: readonly BlockStats[];
}

function toNumber(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

function readBlocks(values: ReadonlyMap<string, string>): BlockStats[] {
  const count = toNumber(values.get('block.count')) ?? 0;
  const blocks: BlockStats[] = [];
  for (let index = 0; index < count; index += 1) {
    const get = (key: string) => values.get(`block.${index}.${key}`);
    const name = get('name');
    if (name === undefined) continue;
    blocks.push({
      name,
      path: get('path') ?? null,
      allocation: toNumber(get('allocation')),
      capacity: toNumber(get('capacity')),
      physical: toNumber(get('physical')),
    });
  }
  return blocks;
}

/** Reads `virsh domstats --raw --state --block`: blocks of `Domain: 'NAME'` and indented `key=value` lines. Keyed by domain name. */
export function parseDomainStats(text: string): Map<string, DomainStats> {
  const result = new Map<string, DomainStats>();
  for (const section of text.split(/^(?=Domain: ')/m)) {
    const name = /^Domain: '(.*)'$/m.exec(section)?.[1];
    if (name === undefined) continue;
    const values = new Map<string, string>();
    for (const match of section.matchAll(/^ {2}([\w.-]+)=(.*)$/gm)) values.set(match[1] ?? '', match[2] ?? '');
    const state = domainStates[toNumber(values.get('state.state')) ?? 0] ?? 'no state';
    const reason = toNumber(values.get('state.reason')) ?? 0;
    result.set(name, { name, state, stateReason: reasons[state]?.[reason] ?? null, blocks: readBlocks(values) });
  }
  return result;
}

/** A disk's own figures: without `--backing`, libvirt gives one entry for each disk, the active layer. */
export function blockOf(stats: DomainStats | null, target: string): BlockStats | null {
  return stats?.blocks.find((block) => block.name === target) ?? null;
}
