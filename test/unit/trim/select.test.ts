import { describe, expect, it } from 'vitest';
import type { Connection, VirshAnswer } from '../../../host/libvirt/connection.ts';
import type { DomainRef } from '../../../host/libvirt/domains.ts';
import { loadConfig } from '../../../host/policy/config.ts';
import { checkSelection, selectDomains, type Selection } from '../../../host/trim/select.ts';

const names = ['db1', 'web1', 'web2', '.hidden', 'a/b'];
const refs: DomainRef[] = names.map((name, index) => ({ name, uuid: `0000000${index + 1}-1111-4222-8333-444444444444` }));

/** Answers dumpxml; web2 carries a tag, db1 cannot be read. */
const connection = {
  name: 'test',
  uri: { text: '', isLocal: false },
  runAll: async (commands: readonly (readonly string[])[]): Promise<VirshAnswer[]> =>
    commands.map(([verb, uuid]) => {
      if (verb !== 'dumpxml') return { ok: true, stdout: '' };
      const ref = refs.find((each) => each.uuid === uuid);
      if (ref?.name === 'db1') return { ok: true, stdout: '<broken' };
      const tags =
        ref?.name === 'web2' ? "<metadata><vt:policy xmlns:vt='https://virt-trim.org/xmlns/domain/1' tags='prod'/></metadata>" : '';
      return { ok: true, stdout: `<domain type='kvm'><name>${ref?.name}</name><uuid>${uuid}</uuid>${tags}<devices/></domain>` };
    }),
} as unknown as Connection;

async function select(selection: Partial<Selection>): Promise<string[]> {
  const config = await loadConfig({ VIRT_TRIM_CONFIG_DIR: '/nonexistent/virt-trim' });
  const selected = await selectDomains(connection, refs, { words: [], all: false, exclude: [], ...selection }, { config, env: {} });
  return selected.map((each) => ('ref' in each ? each.ref.name : `? ${each.wanted} ${each.error.code}`));
}

describe('selectDomains', () => {
  it('takes those named, each once, whatever they are named by', async () => {
    expect(await select({ words: ['web1', refs[1]?.uuid ?? '', 'web1'] })).toEqual(['web1']);
  });

  it('an unknown name is an entry of its own, and stops nobody', async () => {
    expect((await select({ words: ['nosuch', 'web1'] })).toSorted()).toEqual(['? nosuch domain-unknown', 'web1']);
  });

  it('a name is a name, never a pattern', async () => {
    expect(await select({ words: ['web*'] })).toEqual(['? web* domain-unknown']);
  });

  it.each([
    [{}, names],
    [{ exclude: ['web*'] }, ['db1', '.hidden', 'a/b']],
    [{ words: ['web*'] }, ['web1', 'web2']],
    [{ words: ['web*', '!web2'] }, ['web1']],
    [{ words: ['tag:prod'] }, ['web2']],
    [{ words: ['!tag:prod'] }, ['db1', 'web1', '.hidden', 'a/b']],
    [{ exclude: ['*'] }, []],
    [{ exclude: ['nosuch'] }, names],
  ] as const)('--all with %j: %j', async (selection, expected) => {
    expect(await select({ all: true, ...selection })).toEqual(expected);
  });

  it('wrong settings of one domain are its own failure', async () => {
    const broken = {
      name: 'test',
      uri: connection.uri,
      runAll: async (commands: readonly (readonly string[])[]) => {
        const answers = await connection.runAll(commands);
        return answers.map((answer) =>
          answer.ok ? { ok: true, stdout: answer.stdout.replace("tags='prod'", "no-such-key='1'") } : answer,
        );
      },
    } as unknown as Connection;
    const config = await loadConfig({ VIRT_TRIM_CONFIG_DIR: '/nonexistent/virt-trim' });
    const of = (words: readonly string[], exclude: readonly string[] = []) =>
      selectDomains(broken, refs, { words, all: true, exclude }, { config, env: {} });
    const all = await of([]);
    expect(all).toHaveLength(names.length);
    expect(all.find((each) => 'wanted' in each)).toMatchObject({
      wanted: 'web2',
      uuid: refs[2]?.uuid,
      error: { code: 'config', message: expect.stringMatching(/metadata of web2.*no-such-key/) as unknown },
    });
    expect((await of(['tag:other'])).map((each) => ('wanted' in each ? each.wanted : each.ref.name))).toEqual(['web2']);
    expect((await of([], ['web2'])).every((each) => 'ref' in each)).toBe(true);
    await expect(
      selectDomains(broken, refs, { words: [], all: true, exclude: [] }, { config, env: { VIRT_TRIM_MINIMUM: 'nonsense' } }),
    ).rejects.toMatchObject({ code: 'config' });
  });

  it('one that cannot be read is there all the same, to fail by itself', async () => {
    expect(await select({ all: true, words: ['db*'] })).toEqual(['db1']);
  });
});

describe('checkSelection', () => {
  it.each([
    [{ words: [], all: false }, /name a domain or give --all/],
    [{ words: ['web1'], all: true }, /'web1': give names, or --all with selectors/],
    [{ words: ['web*', 'web1'], all: true }, /'web1'/],
  ])('%j is refused as usage', (selection, message) => {
    expect(() => checkSelection(selection)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringMatching(message) as unknown }) as Error,
    );
  });

  it.each([
    { words: ['web1'], all: false },
    { words: [], all: true },
    { words: ['web*', '!x', 'tag:y'], all: true },
  ])('%j is fine', (selection) => {
    expect(() => checkSelection(selection)).not.toThrow();
  });
});
