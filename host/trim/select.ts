import { toAppError, AppError } from '../../shared/errors.ts';
import type { Connection, RunOptions } from '../libvirt/connection.ts';
import { findDomain, isUnreadable, readDomains, type Domain, type DomainRef, type UnreadableDomain } from '../libvirt/domains.ts';
import { effectivePolicy, metadataPolicy, type EffectivePolicy } from '../policy/effective.ts';
import type { Config } from '../policy/config.ts';
import { isSelector, matchesSelectors } from '../policy/select.ts';

/** A domain that a run is about. */
export interface SelectedDomain {
  readonly ref: DomainRef;
  readonly domain: Domain | UnreadableDomain;
  /** Null where the domain cannot be read. */
  readonly policy: EffectivePolicy | null;
}

/** …or the name of one that could not be found, or whose own settings are wrong: it never stops the others. */
export type Selected = SelectedDomain | { readonly wanted: string; readonly uuid?: string; readonly error: AppError };

export interface Selection {
  /** Names, UUIDs, ids; under `all` selectors: globs, `tag:WORD`, `!EXCLUDE`. */
  readonly words: readonly string[];
  readonly all: boolean;
  /** Globs, as `!GLOB`. */
  readonly exclude: readonly string[];
}

/** @throws AppError `usage` where names and selectors are mixed up with --all. */
export function checkSelection({ words, all }: Pick<Selection, 'words' | 'all'>): void {
  const named = words.filter((word) => !isSelector(word));
  if (all && named.length > 0)
    throw new AppError('usage', `'${named[0] ?? ''}': give names, or --all with selectors such as 'web*', tag:prod or '!test', not both`);
  if (!all && words.length === 0) throw new AppError('usage', "name a domain or give --all; 'virt-trim list' shows what is there");
}

/** The domains that the words mean, each once, with what was read of them and their settings. Two virsh processes. */
export async function selectDomains(
  connection: Connection,
  all: readonly DomainRef[],
  selection: Selection,
  sources: { readonly config: Config; readonly env: NodeJS.ProcessEnv },
  run: RunOptions = {},
): Promise<Selected[]> {
  const named = selection.all ? [] : await findNamed(connection, all, selection.words, run);
  const refs = selection.all ? [...all] : named.flatMap((each) => ('ref' in each ? [each.ref] : []));
  const domains = new Map((await readDomains(connection, refs, run)).map((domain) => [domain.uuid, domain]));
  const patterns = [...(selection.all ? selection.words : []), ...selection.exclude.map((glob) => `!${glob}`)];
  const selected: Selected[] = named.flatMap((each) => ('error' in each ? [each] : []));
  for (const ref of refs) {
    const domain = domains.get(ref.uuid) ?? { ...ref, error: new AppError('internal', `${ref.name}: was not read`) };
    const error = isUnreadable(domain) ? null : metadataError(domain);
    if (error !== null) {
      // Its tags are not known: only its name can keep it out.
      const rejecting = patterns.filter((pattern) => pattern.startsWith('!'));
      if (rejecting.length === 0 || matchesSelectors(rejecting, { ...ref, tags: [] }))
        selected.push({ wanted: ref.name, uuid: ref.uuid, error });
      continue;
    }
    const policy = isUnreadable(domain) ? null : effectivePolicy(domain, sources);
    if (patterns.length > 0 && !matchesSelectors(patterns, { ...ref, tags: policy?.tags.value ?? [] })) continue;
    selected.push({ ref, domain, policy });
  }
  return selected;
}

/** What is wrong with a domain's own settings; settings from elsewhere concern all and are thrown. */
function metadataError(domain: Domain): AppError | null {
  try {
    metadataPolicy(domain);
    return null;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'config') throw thrown;
    return error;
  }
}

type Named = { readonly ref: DomainRef } | { readonly wanted: string; readonly error: AppError };

async function findNamed(connection: Connection, all: readonly DomainRef[], words: readonly string[], run: RunOptions): Promise<Named[]> {
  const found = new Map<string, Named>();
  for (const wanted of words) {
    try {
      const ref = await findDomain(connection, wanted, all, run);
      found.set(ref.uuid, { ref });
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'domain-unknown' && error.code !== 'domain-ambiguous') throw thrown;
      found.set(`? ${wanted}`, { wanted, error });
    }
  }
  return [...found.values()];
}
