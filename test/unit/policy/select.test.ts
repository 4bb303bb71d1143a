import { describe, expect, test } from 'vitest';
import { isSelector, selectItems } from '../../../host/policy/select.ts';

const items = ['web1', 'web2', 'db', '.hidden', '-x', 'all'].map((name, index) => ({
  name,
  uuid: `0000000${index}-0000-0000-0000-000000000000`,
  tags: name === 'db' ? ['prod', 'sql'] : name === 'web1' ? ['prod'] : [],
}));
const names = (patterns: string[]) => selectItems(patterns, items).map((item) => item.name);

describe('selectors', () => {
  test.each<[string[], string[]]>([
    [[], ['web1', 'web2', 'db', '.hidden', '-x', 'all']],
    [['web*'], ['web1', 'web2']],
    [['web*', '!web2'], ['web1']],
    [['!web2', 'web*'], ['web1']],
    [['!web*'], ['db', '.hidden', '-x', 'all']],
    [['tag:prod'], ['web1', 'db']],
    [['tag:prod', '!tag:sql'], ['web1']],
    [['*'], ['web1', 'web2', 'db', '.hidden', '-x', 'all']],
    [['-x'], ['-x']],
    [['{web1,db}'], ['web1', 'db']],
    [['00000002-0000-0000-0000-000000000000'], ['db']],
    [['nosuch'], []],
  ])('%j', (patterns, expected) => {
    expect(names(patterns)).toEqual(expected);
  });

  test('an empty pattern is refused, not taken for everything', () => {
    expect(() => names([''])).toThrow(/selector/);
    expect(() => names(['!'])).toThrow(/selector/);
  });

  test('a plain name is none', () => {
    expect(['web1', 'web*', '!a', 'tag:x'].map(isSelector)).toEqual([false, true, true, true]);
  });
});
