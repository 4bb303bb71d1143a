import picomatch from 'picomatch';
import { AppError } from '../../shared/errors.ts';

/** What a selector can look at. */
export interface Selectable {
  readonly name: string;
  readonly uuid: string;
  readonly tags: readonly string[];
}

/** Names may begin with a dot and hold slashes elsewhere in the field: neither is special in a domain's name. */
const globOptions = { dot: true, bash: true, nonegate: true, noextglob: true } as const;

/** @throws AppError `usage` for an empty or overlong pattern. */
function matcher(pattern: string): (item: Selectable) => boolean {
  if (pattern === '' || pattern.length > 256) {
    throw new AppError('usage', 'a selector is a name, a glob such as web*, tag:WORD, or one of these behind !');
  }
  if (pattern.startsWith('tag:')) {
    const wanted = picomatch(pattern.slice(4) || '*', globOptions);
    return (item) => item.tags.some((tag) => wanted(tag));
  }
  const wanted = picomatch(pattern, globOptions);
  const uuid = pattern.toLowerCase();
  return (item) => item.name === pattern || item.uuid === uuid || wanted(item.name);
}

/**
 * Whether an item is chosen: some pattern takes it and no `!pattern` rejects it, wherever that stands. Only exclusions means: all but these.
 * @throws AppError `usage`.
 */
export function matchesSelectors(patterns: readonly string[], item: Selectable): boolean {
  const rejecting = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => matcher(pattern.slice(1)));
  const taking = patterns.filter((pattern) => !pattern.startsWith('!')).map(matcher);
  if (rejecting.some((rejects) => rejects(item))) return false;
  return taking.length === 0 ? rejecting.length > 0 : taking.some((takes) => takes(item));
}

/** The items that the patterns choose, in their own order; no patterns choose all. */
export function selectItems<T extends Selectable>(patterns: readonly string[], items: readonly T[]): T[] {
  return patterns.length === 0 ? [...items] : items.filter((item) => matchesSelectors(patterns, item));
}

/** True where a word on the command line can only be meant as a selector. */
export function isSelector(word: string): boolean {
  return word.startsWith('!') || word.startsWith('tag:') || /[*?[\]{}]/.test(word);
}
