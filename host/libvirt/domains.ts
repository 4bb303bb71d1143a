import { cleanText } from '../../shared/clean-text.ts';
import { AppError } from '../../shared/errors.ts';
import type { Connection, RunOptions, VirshAnswer } from './connection.ts';
import { parseDomainStats, type DomainState, type DomainStats } from './domain-stats.ts';
import { parseDomainXml, type DomainDescription } from './domain-xml.ts';

export interface DomainRef {
  readonly uuid: string;
  readonly name: string;
}

/** A domain as it stood when it was read: description from the live XML where it runs, state and sizes from domstats. */
export interface Domain extends DomainDescription {
  readonly state: DomainState;
  readonly stateReason: string | null;
  readonly stats: DomainStats | null;
}

/** A domain that was there when listed and could not be read: it vanished, or libvirt would not say. */
export interface UnreadableDomain extends DomainRef {
  readonly error: AppError;
}

/** Every domain of the connection, in name order. One virsh process. */
export async function listDomains(connection: Connection, options: RunOptions = {}): Promise<DomainRef[]> {
  return parseDomainList(await connection.run(['list', '--all', '--uuid', '--name'], options));
}

/** Reads `virsh list --all --uuid --name`: UUID, a space, and the name as it is, spaces at its ends included (9.0, 11.3: no padding). */
export function parseDomainList(text: string): DomainRef[] {
  const refs: DomainRef[] = [];
  for (const line of text.split('\n')) {
    const match = /^([0-9a-f]{8}-[0-9a-f-]{27}) (.*)$/.exec(line);
    if (match !== null) refs.push({ uuid: match[1] ?? '', name: match[2] ?? '' });
  }
  return refs.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Reads domains, all in one virsh process (one more for each 1,500 domains or so).
 * @returns one entry per given domain, in that order.
 */
export async function readDomains(
  connection: Connection,
  refs: readonly DomainRef[],
  options: RunOptions = {},
): Promise<(Domain | UnreadableDomain)[]> {
  if (refs.length === 0) return [];
  // --nowait: a domain whose monitor hangs must not hold up the others.
  const statistics = ['domstats', '--raw', '--state', '--block', '--nowait', ...(refs.length <= 50 ? refs.map((ref) => ref.uuid) : [])];
  const answers = await connection.runAll([statistics, ...refs.map((ref) => ['dumpxml', ref.uuid])], {
    timeoutMs: 30_000,
    ...options,
  });
  const stats = await statisticsOf(connection, answers[0], options);
  return refs.map((ref, index) => readOne(ref, answers[index + 1], stats));
}

/** domstats with named domains fails as a whole when one of them has gone: then all are asked for. */
async function statisticsOf(
  connection: Connection,
  answer: VirshAnswer | undefined,
  options: RunOptions,
): Promise<Map<string, DomainStats>> {
  if (answer?.ok === true) return parseDomainStats(answer.stdout);
  return parseDomainStats(await connection.run(['domstats', '--raw', '--state', '--block', '--nowait'], { timeoutMs: 30_000, ...options }));
}

function readOne(ref: DomainRef, answer: VirshAnswer | undefined, stats: ReadonlyMap<string, DomainStats>): Domain | UnreadableDomain {
  if (answer === undefined) return { ...ref, error: new AppError('internal', `${ref.name}: no answer in the batch`) };
  if (!answer.ok) return { ...ref, error: answer.error };
  try {
    const description = parseDomainXml(answer.stdout);
    const own = stats.get(description.name) ?? null;
    return {
      ...description,
      state: own?.state ?? (description.id === null ? 'shut off' : 'no state'),
      stateReason: own?.stateReason ?? null,
      stats: own,
    };
  } catch (error) {
    if (error instanceof AppError) return { ...ref, error };
    throw error;
  }
}

export function isUnreadable(domain: Domain | UnreadableDomain): domain is UnreadableDomain {
  return 'error' in domain;
}

/**
 * Finds one domain by name, UUID or id. A number that is one domain's id and another's name is ambiguous, and refused.
 * @throws AppError `domain-unknown`, `domain-ambiguous`.
 */
export async function findDomain(
  connection: Connection,
  wanted: string,
  all: readonly DomainRef[],
  options: RunOptions = {},
): Promise<DomainRef> {
  const uuid = wanted.toLowerCase().replace(/^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/, '$1-$2-$3-$4-$5');
  const byUuid = all.find((ref) => ref.uuid === uuid);
  if (byUuid !== undefined) return byUuid; // even if another domain is named like it: no other way to address this one is safe
  const matches = all.filter((ref) => ref.name === wanted);
  if (/^\d+$/.test(wanted)) {
    const [byId] = await connection.runAll([['domuuid', wanted]], options);
    const idUuid = byId?.ok === true ? byId.stdout.trim() : null;
    const match = all.find((ref) => ref.uuid === idUuid);
    if (match !== undefined && !matches.includes(match)) matches.push(match);
  }
  const [first, second] = matches;
  if (first === undefined) {
    throw new AppError(
      'domain-unknown',
      `domain '${cleanText(wanted)}' not found on ${connection.name}; 'virt-trim list' shows what is there`,
      {
        context: { domain: wanted, uri: connection.name },
      },
    );
  }
  if (second !== undefined) {
    throw new AppError(
      'domain-ambiguous',
      `domain '${cleanText(wanted)}' is ambiguous: it means ${cleanText(first.name)} (${first.uuid}) and ${cleanText(second.name)} (${second.uuid}); use the UUID`,
      { context: { domain: wanted } },
    );
  }
  return first;
}
