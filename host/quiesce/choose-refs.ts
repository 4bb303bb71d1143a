import { AppError } from '../../shared/errors.ts';
import type { Connection } from '../libvirt/connection.ts';
import { findDomain, listDomains, type DomainRef } from '../libvirt/domains.ts';

/**
 * The domains that names, UUIDs or ids mean. One that libvirt does not know (any more) but a lease does is found too: its guest may be
 * frozen elsewhere.
 * @throws AppError `usage`, `domain-unknown`, `domain-ambiguous`, and what Connection throws where no lease knows the name.
 */
export async function chooseRefs(
  connection: Connection,
  words: readonly string[],
  leased: readonly DomainRef[],
  signal: AbortSignal,
): Promise<DomainRef[]> {
  if (words.length === 0) throw new AppError('usage', "name a domain or give --all; 'virt-trim list' shows what is there");
  const refs = new Map<string, DomainRef>();
  for (const word of words) {
    const known = leased.find((ref) => ref.name === word || ref.uuid === word.toLowerCase());
    const ref = known ?? (await findDomain(connection, word, await listDomains(connection, { signal }), { signal }));
    refs.set(ref.uuid, ref);
  }
  return [...refs.values()];
}
