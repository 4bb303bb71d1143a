import { AppError, toAppError } from '../../shared/errors.ts';
import type { Connection, RunOptions } from '../libvirt/connection.ts';
import {
  findDomain,
  isUnreadable,
  listDomains,
  readDomains,
  type Domain,
  type DomainRef,
  type UnreadableDomain,
} from '../libvirt/domains.ts';
import { policyElement } from './effective.ts';
import { isSelector, selectItems } from './select.ts';
import { settingsShape } from './settings.ts';

/** A name that is not there. */
export interface UnknownDomain {
  readonly name: string;
  readonly uuid: null;
  readonly error: AppError;
}

/** A domain that a read-only run is about, as far as it could be read. */
export type Chosen = Domain | UnreadableDomain | UnknownDomain;

/** Tags of a domain's metadata; a value that cannot be read counts as none here and is reported where the policy is computed. */
function tagsOf(domain: Domain | UnreadableDomain): string[] {
  if (isUnreadable(domain)) return [];
  const parsed = settingsShape.tags.safeParse(domain.metadata[policyElement]?.['tags']);
  return parsed.success ? (parsed.data ?? []) : [];
}

/**
 * Reads the domains that words on the command line mean: names, UUIDs, ids, or, as soon as there is one selector among them, globs,
 * `tag:WORD` and `!exclude`; no words mean all. Two virsh processes whatever the number of domains. Unlike a run that changes
 * something, it needs no valid policy. A name that is not there is an entry with its error.
 * @throws AppError `usage` for selectors that choose nothing; what Connection throws.
 */
export async function chooseDomains(connection: Connection, words: readonly string[], options: RunOptions = {}): Promise<Chosen[]> {
  const all = await listDomains(connection, options);
  if (words.length === 0) return readDomains(connection, all, options);
  if (!words.some(isSelector)) return readNamed(connection, words, all, options);
  const domains = await readDomains(connection, all, options);
  const items = domains.map((domain) => ({ name: domain.name, uuid: domain.uuid, tags: tagsOf(domain), domain }));
  const chosen = selectItems(words, items).map((item) => item.domain);
  if (chosen.length === 0) throw new AppError('usage', `no domain matches ${words.join(' ')}`);
  return chosen;
}

async function readNamed(
  connection: Connection,
  words: readonly string[],
  all: readonly DomainRef[],
  options: RunOptions,
): Promise<Chosen[]> {
  const refs = new Map<string, DomainRef>();
  const unknown: UnknownDomain[] = [];
  for (const name of words) {
    try {
      const ref = await findDomain(connection, name, all, options);
      refs.set(ref.uuid, ref);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'domain-unknown' && error.code !== 'domain-ambiguous') throw thrown;
      unknown.push({ name, uuid: null, error });
    }
  }
  return [...(await readDomains(connection, [...refs.values()], options)), ...unknown];
}

export function isReadable(chosen: Chosen): chosen is Domain {
  return !('error' in chosen);
}
