import { describe, expect, it } from 'vitest';
import type { Connection, VirshAnswer } from '../../../host/libvirt/connection.ts';
import { findDomain, isUnreadable, parseDomainList, readDomains, type DomainRef } from '../../../host/libvirt/domains.ts';
import { AppError } from '../../../shared/errors.ts';

const uuid = (digit: number): string => `0000000${digit}-1111-4222-8333-444444444444`;

/** A connection whose answers the test gives. */
function answering(answer: (command: readonly string[]) => string | AppError): Connection & { readonly asked: string[][] } {
  const asked: string[][] = [];
  const one = (command: readonly string[]): VirshAnswer => {
    asked.push([...command]);
    const text = answer(command);
    return typeof text === 'string' ? { ok: true, stdout: text } : { ok: false, error: text };
  };
  return {
    asked,
    name: 'test',
    runAll: async (commands: readonly string[][]) => commands.map(one),
    run: async (command: readonly string[]) => {
      const result = one(command);
      if (!result.ok) throw result.error;
      return result.stdout;
    },
  } as unknown as Connection & { readonly asked: string[][] };
}

describe('parseDomainList', () => {
  it('reads names with spaces, quotes, dashes and option-like names, in name order', () => {
    const names = ["it's", 'web 1', '-x', 'all', 'ünï', 'a  b', ' odd '];
    const text = names.map((name, index) => `${uuid(index)} ${name}\n`).join('');
    expect(parseDomainList(`${text}\n`).map((ref) => ref.name)).toEqual([' odd ', '-x', 'a  b', 'all', "it's", 'web 1', 'ünï']);
  });

  it('passes over what is no domain', () => {
    expect(parseDomainList('\n--\nnonsense line\n')).toEqual([]);
  });
});

describe('findDomain', () => {
  const all: DomainRef[] = [
    { uuid: uuid(1), name: 'web' },
    { uuid: uuid(2), name: '7' },
    { uuid: uuid(3), name: '-x' },
    { uuid: uuid(4), name: uuid(1) },
    { uuid: uuid(5), name: 'nine' },
  ];
  const ids = answering((command) =>
    command[1] === '7' ? `${uuid(1)}\n` : command[1] === '9' ? `${uuid(5)}\n` : new AppError('domain-unknown', 'no'),
  );
  const find = (wanted: string): Promise<DomainRef> => findDomain(ids, wanted, all);

  it('finds by name, id and UUID in any case and with or without dashes', async () => {
    expect(await find('web')).toBe(all[0]);
    expect(await find('-x')).toBe(all[2]);
    expect(await find('9')).toBe(all[4]);
    expect(await find(uuid(5).toUpperCase())).toBe(all[4]);
    expect(await find(uuid(5).replaceAll('-', ''))).toBe(all[4]);
  });

  it("refuses a number that is one domain's id and another's name", async () => {
    await expect(find('7')).rejects.toMatchObject({ code: 'domain-ambiguous', message: expect.stringMatching(/use the UUID/) as unknown });
  });

  it('takes a UUID as a UUID, whoever is named like it: else that domain could not be addressed at all', async () => {
    expect(await find(uuid(1))).toBe(all[0]);
  });

  it('tells an unknown one, and asks virsh nothing but for numbers', async () => {
    await expect(find('nosuch')).rejects.toMatchObject({ code: 'domain-unknown' });
    expect(ids.asked.every(([verb, number]) => verb === 'domuuid' && /^\d+$/.test(number ?? ''))).toBe(true);
  });
});

describe('readDomains', () => {
  const xml = (name: string, n: number, id?: number): string =>
    `<domain type='kvm'${id === undefined ? '' : ` id='${id}'`}><name>${name}</name><uuid>${uuid(n)}</uuid><devices/></domain>`;
  const refs: DomainRef[] = [1, 2, 3].map((n) => ({ uuid: uuid(n), name: `d${n}` }));

  it('keeps the others when one has gone, in the order given', async () => {
    const connection = answering(([verb, ...rest]) => {
      if (verb === 'domstats')
        return rest.some((word) => word.includes('-') && !word.startsWith('--'))
          ? new AppError('domain-unknown', 'gone')
          : "Domain: 'd1'\n  state.state=1\n  state.reason=1\n\nDomain: 'd3'\n  state.state=5\n  state.reason=1\n";
      if (rest[0] === uuid(2)) return new AppError('domain-unknown', 'gone');
      return rest[0] === uuid(1) ? xml('d1', 1, 4) : xml('d3', 3);
    });
    const [one, two, three] = await readDomains(connection, refs);
    expect(one).toMatchObject({ name: 'd1', state: 'running', id: 4 });
    expect(two !== undefined && isUnreadable(two) && two.error.code).toBe('domain-unknown');
    expect(three).toMatchObject({ name: 'd3', state: 'shut off', stateReason: 'shutdown' });
  });

  it('reports XML that cannot be read for that domain alone', async () => {
    const connection = answering(([verb, which]) =>
      verb === 'domstats' ? '' : which === uuid(1) ? '<domain><name>d1' : xml(`d${which?.[7]}`, Number(which?.[7])),
    );
    const read = await readDomains(connection, refs);
    expect(read.map(isUnreadable)).toEqual([true, false, false]);
    expect(read[0]).toMatchObject({ name: 'd1', error: { code: 'tool-failed' } });
  });

  it('names no domains to domstats when there are many: one line of text for 1,000 of them', async () => {
    const many = Array.from({ length: 1000 }, (_, index) => ({ uuid: uuid(index % 10), name: `d${index}` }));
    const connection = answering(([verb]) => (verb === 'domstats' ? '' : xml('x', 1)));
    await readDomains(connection, many);
    expect(connection.asked[0]).toEqual(['domstats', '--raw', '--state', '--block', '--nowait']);
  });

  it('asks nothing for no domains', async () => {
    const connection = answering(() => '');
    expect(await readDomains(connection, [])).toEqual([]);
    expect(connection.asked).toEqual([]);
  });

  it('finds the statistics of a name with spaces at its ends', async () => {
    const connection = answering(([verb]) =>
      verb === 'domstats' ? "Domain: ' odd '\n  state.state=1\n  state.reason=1\n" : xml(' odd ', 1, 3),
    );
    const [odd] = await readDomains(connection, [{ uuid: uuid(1), name: ' odd ' }]);
    expect(odd).toMatchObject({ name: ' odd ', state: 'running' });
  });
});
