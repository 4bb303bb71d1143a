import picomatch from 'picomatch';
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Connection, RunOptions } from '../libvirt/connection.ts';
import { findDomain, type DomainRef } from '../libvirt/domains.ts';

/** A domain that a run is about, or the name of one that could not be found. */
export type Selected = { readonly wanted: string; readonly ref: DomainRef } | { readonly wanted: string; readonly error: AppError };

/** True where one of the globs matches the name. Names are no paths: `*` matches a `/` as well. */
export function matchesAny(name: string, globs: readonly string[]): boolean {
  return globs.some((glob) => picomatch.isMatch(name.replaceAll('/', '\u0000'), glob.replaceAll('/', '\u0000'), { dot: true, bash: true }));
}

/**
 * The domains of a run: those named, each once, or all. An unknown name is an entry of its own: it never stops the others.
 */
export async function selectDomains(
  connection: Connection,
  all: readonly DomainRef[],
  options: { readonly names: readonly string[]; readonly all: boolean; readonly exclude: readonly string[] },
  run: RunOptions = {},
): Promise<Selected[]> {
  const selected: Selected[] = [];
  const seen = new Set<string>();
  const add = (wanted: string, ref: DomainRef): void => {
    if (seen.has(ref.uuid) || matchesAny(ref.name, options.exclude)) return;
    seen.add(ref.uuid);
    selected.push({ wanted, ref });
  };
  if (options.all) for (const ref of all) add(ref.name, ref);
  for (const wanted of options.names) {
    try {
      add(wanted, await findDomain(connection, wanted, all, run));
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'domain-unknown' && error.code !== 'domain-ambiguous') throw thrown;
      selected.push({ wanted, error });
    }
  }
  return selected;
}
