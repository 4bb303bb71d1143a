import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// Settings in the metadata of real domains; none of them is booted.

let rig: Rig;
let cli: Cli;
let directory = '';
let web: Guest;
let managed: Guest;

beforeAll(async () => {
  rig = await startRig();
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-config-'));
  await mkdir(path.join(directory, 'conf.d'), { recursive: true });
  await writeFile(path.join(directory, 'config.yaml'), 'defaults:\n  lease: 30s\ndomains:\n  - match: tag:prod\n    quiesce: filesystem\n');
  await writeFile(path.join(directory, 'conf.d', '10-more.yaml'), 'defaults:\n  lease: 45s\n');
  cli = await Cli.create(rig.uri, { VIRT_TRIM_CONFIG_DIR: directory });
  const disks = [{ filesystem: null, sizeBytes: 1024 ** 2 }] as const;
  web = await rig.define({ name: 'web1', disks });
  await rig.define({ name: 'db1', disks });
  managed = await rig.define({
    name: 'instance-1',
    disks,
    edit: (domain) => {
      const document = domain.ownerDocument;
      const metadata = document?.createElement('metadata');
      const nova = document?.createElementNS('http://openstack.org/xmlns/libvirt/nova/1.1', 'nova:instance');
      if (metadata === undefined || nova === undefined) throw new Error('no document');
      metadata.appendChild(nova);
      domain.appendChild(metadata);
    },
  });
});
afterAll(async () => {
  await rig?.dispose();
  await cli?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

interface ShownPolicy {
  readonly name: string;
  readonly policy: Record<string, { value: unknown; origin: { kind: string; place: string } }>;
}

async function show(...words: string[]): Promise<ShownPolicy[]> {
  return (await cli.json('policy', 'show', ...words)).envelope.domains as ShownPolicy[];
}

describe('policy', () => {
  test('is kept in the metadata, read back by virsh itself, and wins over the files', async () => {
    expect((await cli.run('policy', 'set', 'web1', 'minimum=1M', 'tags=prod,blue', 'exclude-disks=vdb')).exitCode).toBe(0);
    const xml = await web.virsh('metadata', web.uuid, 'https://virt-trim.org/xmlns/domain/1/policy', '--config');
    expect(xml).toMatch(/<policy .*minimum=['"]1M['"]/);
    const [shown] = await show('web1');
    expect(shown?.policy['minimumBytes']).toEqual({ value: 1024 ** 2, origin: { kind: 'metadata', place: 'metadata of web1' } });
    expect(shown?.policy['quiesceLevel']).toMatchObject({ value: 'filesystem', origin: { kind: 'config' } });
    expect(shown?.policy['leaseSeconds']?.value).toBe(45);
    expect(shown?.policy['leaseSeconds']?.origin.place).toMatch(/conf\.d\/10-more\.yaml:2$/);
  });

  test('set keeps the other settings, unset removes one, and the last one takes the element with it', async () => {
    await cli.run('policy', 'set', 'db1', 'trim=no', 'lease=20s');
    await cli.run('policy', 'set', 'db1', 'lease=25s');
    const [both] = await show('db1');
    expect([both?.policy['trim']?.value, both?.policy['leaseSeconds']?.value]).toEqual([false, 25]);
    await cli.run('policy', 'unset', 'db1', 'trim', 'lease');
    expect((await show('db1'))[0]?.policy['trim']?.origin.kind).toBe('default');
  });

  test('a tag chooses the domain', async () => {
    expect((await show('tag:prod')).map((one) => one.name)).toEqual(['web1']);
    expect((await show('!web*', '!instance*')).map((one) => one.name)).toEqual(['db1']);
  });

  test.each([
    [['policy', 'set', 'db1', 'minimun=1M'], 2, /unknown setting 'minimun'; there are trim/],
    [['policy', 'set', 'db1', 'lease=2h'], 2, /lease: must be between/],
    [['policy', 'set', 'nosuch', 'trim=no'], 1, /domain 'nosuch' not found/],
    [['policy', 'set', 'instance-1', 'trim=no'], 3, /OpenStack Nova owns this domain's XML; set it in/],
  ])('%j is refused', async (args, status, message) => {
    const { exitCode, stderr } = await cli.run(...args);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(status);
  });

  test("a manager's domain keeps its XML to the letter", async () => {
    const before = await managed.virsh('dumpxml', '--inactive', managed.uuid);
    await cli.run('policy', 'set', 'instance-1', 'trim=no');
    await cli.run('fix', 'instance-1', '--yes');
    expect(await managed.virsh('dumpxml', '--inactive', managed.uuid)).toBe(before);
  });

  test('config show names file and line, a broken file ends with 2', async () => {
    const shown = JSON.parse((await cli.run('config', 'show')).stdout);
    expect(shown.files).toHaveLength(2);
    expect(shown.defaults.lease).toMatchObject({ value: 45 });
    await writeFile(path.join(directory, 'conf.d', '20-broken.yaml'), 'defaults:\n  leese: 1\n');
    const { exitCode, stderr } = await cli.run('policy', 'show', 'db1');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/20-broken\.yaml:2: unknown key 'leese'/);
  });
});
