import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readKnownAgents, rememberAgents } from '../../../host/agent/known-agents.ts';
import { openStateDirectory, stateDirectory } from '../../../host/state/directory.ts';
import { removeDurably, writeDurably } from '../../../host/state/durable.ts';
import { appendHistory, lastTrims, readHistory, type HistoryEntry } from '../../../host/state/history.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-unit-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const file = (name = 'history.jsonl'): string => path.join(directory, name);

function entry(changes: Partial<HistoryEntry> = {}): HistoryEntry {
  return {
    v: 1,
    at: '2026-11-22T08:00:00.000Z',
    uri: 'qemu:///system',
    uuid: 'u1',
    name: 'web',
    status: 'ok',
    code: null,
    beforeBytes: 10,
    afterBytes: 4,
    reclaimedBytes: 6,
    wallMs: 12,
    ...changes,
  };
}

describe('history', () => {
  it('gives back what was appended, oldest first, in a file for its owner only', async () => {
    await appendHistory(directory, [entry({ wallMs: 1 }), entry({ wallMs: 2 })]);
    await appendHistory(directory, [entry({ wallMs: 3, name: 'with "quotes"\nand lines', reclaimedBytes: null })]);
    const entries = await readHistory(directory);
    expect(entries.map((each) => each.wallMs)).toEqual([1, 2, 3]);
    expect(entries[2]).toMatchObject({ name: 'with "quotes"\nand lines', reclaimedBytes: null });
    expect((await stat(file())).mode & 0o777).toBe(0o600);
  });

  it('is empty where nothing is, and appending nothing makes no file', async () => {
    expect(await readHistory(path.join(directory, 'nowhere'))).toEqual([]);
    await appendHistory(directory, []);
    expect(await readdir(directory)).toEqual([]);
  });

  it('passes over torn, foreign and hostile lines', async () => {
    const good = JSON.stringify(entry());
    await writeFile(file(), `${good}\nnot json\n{"v":2}\n[]\nnull\n${good.slice(0, 40)}\n\n${good}\n{"v":1,"at":`);
    expect(await readHistory(directory)).toHaveLength(2);
  });

  it('a torn last line does not take the next entry with it', async () => {
    await writeFile(file(), `${JSON.stringify(entry({ wallMs: 1 }))}\n{"v":1,"at":"2026`);
    await appendHistory(directory, [entry({ wallMs: 2 })]);
    expect((await readHistory(directory)).map((each) => each.wallMs)).toEqual([1, 2]);
  });

  it('rotates at 4 MiB and still reads the older part', async () => {
    await appendHistory(directory, [entry({ wallMs: 1 })]);
    await truncate(file(), 4 * 1024 * 1024 + 1); // the rest is one torn line of zeros
    await appendHistory(directory, [entry({ wallMs: 2 })]);
    expect((await stat(file())).size).toBeLessThan(1000);
    expect((await stat(file('history.jsonl.1'))).size).toBeGreaterThan(4 * 1024 * 1024);
    expect((await readHistory(directory)).map((each) => each.wallMs)).toEqual([1, 2]);
  });

  it('two that append at once mix nothing', async () => {
    await Promise.all(
      Array.from({ length: 30 }, (_, index) => appendHistory(directory, [entry({ wallMs: index }), entry({ wallMs: index })])),
    );
    expect(await readHistory(directory)).toHaveLength(60);
  });

  it('the last trim is the newest that was tried, of each domain', () => {
    const last = lastTrims([
      entry({ wallMs: 1 }),
      entry({ wallMs: 2, status: 'failed' }),
      entry({ wallMs: 3, status: 'skipped' }),
      entry({ wallMs: 4, uuid: 'u2' }),
    ]);
    expect(last.get('u1')?.wallMs).toBe(2);
    expect(last.get('u2')?.wallMs).toBe(4);
  });

  it('says which file cannot be written', async () => {
    await mkdir(file());
    await expect(appendHistory(directory, [entry()])).rejects.toMatchObject({
      code: 'state-directory',
      message: expect.stringContaining(file()) as unknown,
    });
  });
});

describe('the state directory', () => {
  it.each([
    [{ VIRT_TRIM_STATE_DIR: '/x' }, 0, '/x'],
    [{}, 0, '/var/lib/virt-trim'],
    [{ XDG_STATE_HOME: '/home/u/.state' }, 1000, '/home/u/.state/virt-trim'],
    [{ VIRT_TRIM_STATE_DIR: '' }, 0, '/var/lib/virt-trim'],
  ])('%j of uid %i is %s', (env, uid, expected) => {
    expect(stateDirectory(env, uid)).toBe(expected);
  });

  it('is made with all above it, 0700', async () => {
    const made = await openStateDirectory(path.join(directory, 'a', 'b'));
    expect((await stat(made)).mode & 0o777).toBe(0o700);
  });

  it('is refused where others could write to it, or it is another’s, or it is no directory', async () => {
    const open = path.join(directory, 'open');
    await mkdir(open);
    await chmod(open, 0o777);
    await expect(openStateDirectory(open)).rejects.toMatchObject({
      code: 'state-directory',
      message: expect.stringMatching(/chmod go-w/) as unknown,
    });
    await expect(openStateDirectory(directory, 12_345)).rejects.toMatchObject({
      code: 'state-directory',
      message: expect.stringMatching(/not to us/) as unknown,
    });
    await writeFile(path.join(directory, 'file'), '');
    await expect(openStateDirectory(path.join(directory, 'file'))).rejects.toMatchObject({ code: 'state-directory' });
    await symlink('/nonexistent/x', path.join(directory, 'dangling'));
    await expect(openStateDirectory(path.join(directory, 'dangling'))).rejects.toMatchObject({ code: 'state-directory' });
  });
});

describe('durable files', () => {
  it('are replaced as a whole, 0600, with nothing left over', async () => {
    await writeDurably(file('x'), 'one');
    await writeDurably(file('x'), 'two');
    expect(await readFile(file('x'), 'utf8')).toBe('two');
    expect((await stat(file('x'))).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['x']);
  });

  it('a failed write leaves the old content and no temporary file', async () => {
    await writeDurably(file('x'), 'old');
    await mkdir(file('y'));
    await expect(writeDurably(file('y'), 'new')).rejects.toMatchObject({ code: 'state-directory' });
    await expect(writeDurably(path.join(directory, 'no', 'x'), 'new')).rejects.toMatchObject({ code: 'state-directory' });
    expect((await readdir(directory)).toSorted()).toEqual(['x', 'y']);
    expect(await readFile(file('x'), 'utf8')).toBe('old');
  });

  it('removing what is not there is fine', async () => {
    await writeDurably(file('x'), '');
    await removeDurably(file('x'));
    await removeDurably(file('x'));
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('known agents', () => {
  const known = { kind: 'qemu-ga' as const, version: '7.2', os: 'Debian', checkedAt: '2026-11-22T08:00:00.000Z' };

  it('are kept, and added to', async () => {
    await rememberAgents(directory, new Map([['a', known]]));
    await rememberAgents(directory, new Map([['b', { ...known, version: null }]]));
    expect([...(await readKnownAgents(directory)).keys()]).toEqual(['a', 'b']);
  });

  it('a damaged cache is an empty one', async () => {
    for (const text of ['', '{', '[]', '{"a":{"kind":"evil"}}', 'null']) {
      await writeFile(file('agents.json'), text);
      expect((await readKnownAgents(directory)).size).toBe(0);
    }
  });
});
