import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Cli } from '../rig/cli.ts';
import { hostileDomains, writeTestNode } from './test-node.ts';

let directory: string;
let node: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-list-'));
  node = await writeTestNode(path.join(directory, 'node.xml'), hostileDomains);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** The schema as it is published, not the one it was made from. */
async function publishedSchema(verb: string): Promise<z.ZodType> {
  return z.fromJSONSchema(JSON.parse(await readFile(`docs/schema/${verb}.json`, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0]);
}

describe('list on the test driver', () => {
  it('shows every domain once, whatever it is called', async () => {
    await using cli = await Cli.create(node);
    const { result, envelope } = await cli.json('list');
    expect(result.exitCode).toBe(0);
    expect(envelope).toMatchObject({ schemaVersion: 1, command: 'list', uri: node, exitStatus: 0 });
    const domains = envelope.domains as { name: string; state: string; id: number | null; agent: { channel: string } }[];
    expect(domains.map((domain) => domain.name).toSorted()).toEqual(hostileDomains.map((domain) => domain.name).toSorted());
    expect(domains.find((domain) => domain.name === '1')).toMatchObject({ state: 'shut off', id: null });
    for (const domain of domains) expect(domain.agent.channel).toBe('absent');
    const table = (await cli.run('list')).stdout.split('\n');
    expect(table).toHaveLength(hostileDomains.length + 1);
  });

  it('what it prints is what docs/schema promises, and so is what trim prints', async () => {
    await using cli = await Cli.create(node);
    for (const args of [['list'], ['trim', 'all', 'nosuch'], ['trim', '--all', '--dry-run']]) {
      const { envelope } = await cli.json(...args);
      const parsed = (await publishedSchema(args[0] ?? '')).safeParse(envelope);
      expect(parsed.success, JSON.stringify(parsed.error?.issues)).toBe(true);
    }
    const { envelope } = await cli.json('list');
    const schema = await publishedSchema('list');
    expect(schema.safeParse({ ...envelope, schemaVersion: 2 }).success).toBe(false);
    expect(schema.safeParse({ ...envelope, domains: [{ name: 1 }] }).success).toBe(false);
  });

  it('is read-only: it makes no state', async () => {
    await using cli = await Cli.create('test:///default', { VIRT_TRIM_STATE_DIR: path.join(directory, 'none') });
    expect((await cli.run('list')).exitCode).toBe(0);
    await expect(readFile(path.join(directory, 'none', 'history.jsonl'))).rejects.toThrow(/ENOENT/);
  });

  it('knows the last trim from the history, damaged as it may be', async () => {
    await using cli = await Cli.create(node);
    const uuid = '00000005-0000-4000-8000-000000000000';
    const line = {
      v: 1,
      at: '2026-11-22T08:00:00.000Z',
      uri: node,
      uuid,
      name: 'all',
      status: 'ok',
      code: null,
      beforeBytes: 9,
      afterBytes: 4,
      reclaimedBytes: 5,
      wallMs: 1,
    };
    await writeFile(path.join(cli.stateDirectory, 'history.jsonl'), `torn{\n${JSON.stringify(line)}\n{"v":1`);
    await writeFile(path.join(cli.stateDirectory, 'agents.json'), 'not json');
    const { envelope } = await cli.json('list');
    expect(envelope.domains).toContainEqual(expect.objectContaining({ uuid, lastTrim: { at: line.at, reclaimedBytes: 5, status: 'ok' } }));
  });

  it('a state directory that cannot be used costs the history, not the trim', async () => {
    const open = path.join(directory, 'open');
    await mkdir(open);
    await chmod(open, 0o777);
    await using cli = await Cli.create(node, { VIRT_TRIM_STATE_DIR: open });
    const trim = await cli.run('trim', '--', '-x');
    expect(trim.stderr).toMatch(/others can write to it; run: chmod go-w/);
    expect(trim.stdout).toMatch(/^-x/m);
  });
});
