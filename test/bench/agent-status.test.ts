import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Element } from '@xmldom/xmldom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { agentStatus, installResult, type AgentStatus } from '../../host/install/schema.ts';
import { silentAgent } from '../rig/agent-scripts.ts';
import { Cli } from '../rig/cli.ts';
import { ownAgentProgram } from '../rig/default-agent.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { windowsDouble } from '../rig/windows-agent.ts';
import type { TinyGuestSpec } from '../../host/demo/tiny-guest.ts';

let rig: Rig;
let cli: Cli;
beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri, { VIRT_TRIM_GUEST_DIR: path.resolve('guest') });
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

const qemuGa = { kind: 'qemu-ga' } as const;
const none = { kind: 'none' } as const;
const ours = { kind: 'virt-trim', program: ownAgentProgram } as const;

/** Nova's mark, as it leaves it in every domain. */
function ownedByNova(domain: Element): void {
  const document = domain.ownerDocument;
  if (document === null) throw new Error('no document');
  const metadata = document.createElement('metadata');
  metadata.appendChild(document.createElementNS('http://openstack.org/xmlns/libvirt/nova/1.1', 'nova:instance'));
  domain.appendChild(metadata);
}

function dropControllers(domain: Element): void {
  for (const name of ['channel', 'controller'])
    for (const element of Array.from(domain.getElementsByTagName(name))) element.parentNode?.removeChild(element);
}

const many = (count: number, prefix: string, spec: Omit<TinyGuestSpec, 'name'>): TinyGuestSpec[] =>
  Array.from({ length: count }, (_, index) => ({ ...spec, name: `${prefix}-${index + 1}` }));

describe('agent status of two dozen guests', () => {
  let windows: Guest;
  let seen: Map<string, AgentStatus>;
  let text: string;
  beforeAll(async () => {
    const running = [
      ...many(6, 'ga', { agent: qemuGa }),
      ...many(4, 'own', { agent: ours }),
      ...many(3, 'empty', { agent: none }),
      ...many(3, 'bare', { agent: none, channel: false }),
      { name: 'blocked', agent: { ...qemuGa, arguments: ['-b', 'guest-fsfreeze-freeze'] } },
      { name: 'nova', agent: none, edit: ownedByNova },
    ] satisfies TinyGuestSpec[];
    for (const spec of [...many(2, 'off', { agent: none, channel: false }), { name: 'off-with', agent: none }]) await rig.define(spec);
    const cold = await rig.define({ name: 'cold', agent: none, channel: false, edit: dropControllers });
    await cold.start();
    await rig.bootScripted({ name: 'silent' }, silentAgent());
    windows = (await rig.bootScripted({ name: 'windows', machine: 'pc' }, windowsDouble({ trimMs: 100, freezeMs: 100 }))).guest;
    await rig.bootAll(running);
    const { result, envelope } = await cli.json('agent', 'status');
    seen = new Map(envelope.domains.map((each) => agentStatus.parse(each)).map((status) => [status.name, status]));
    process.stderr.write(`  agent status of ${seen.size} guests: ${Math.round(result.durationMs)} ms, exit ${result.exitCode}\n`);
    const table = await cli.run('agent', 'status');
    text = table.stdout + table.stderr;
    process.stderr.write(`${text.replaceAll(/^/gm, '  ')}\n`);
  }, 1_500_000);

  const one = (name: string): AgentStatus => {
    const status = seen.get(name);
    if (status === undefined) throw new Error(`${name} is not listed`);
    return status;
  };
  const way = (name: string, wanted: string) => one(name).ways.find((each) => each.way === wanted);

  it('lists them all', () => {
    expect(seen.size).toBe(24);
    expect([...seen.values()].map(({ status }) => status)).not.toContain('failed');
  });

  it('says which have no channel, and which have one that nobody holds', () => {
    for (const name of ['bare-1', 'bare-2', 'bare-3', 'cold'])
      expect(one(name).channel, name).toMatchObject({ live: false, connected: false });
    for (const name of ['empty-1', 'empty-2', 'empty-3', 'nova'])
      expect(one(name).channel, name).toMatchObject({ live: true, connected: false });
    for (const name of ['off-1', 'off-2']) expect(one(name).channel, name).toMatchObject({ live: null, persistent: false });
    expect(one('off-with').channel).toMatchObject({ live: null, persistent: true });
  });

  it('says which agent answers, in which version, and which does not answer', () => {
    for (let index = 1; index <= 6; index += 1)
      expect(one(`ga-${index}`).agent).toMatchObject({
        answering: true,
        kind: 'qemu-ga',
        version: expect.stringMatching(/^\d+\.\d+/) as string,
      });
    for (let index = 1; index <= 4; index += 1) expect(one(`own-${index}`).agent).toMatchObject({ answering: true, kind: 'virt-trim' });
    expect(one('silent')).toMatchObject({ code: 'agent-silent', agent: { answering: false } });
    expect(one('windows')).toMatchObject({ os: 'Windows Server 2022 Standard', agent: { answering: true, version: '107.0.1' } });
  });

  it('names the known defects: loop mounts with qemu-ga before 10, a blocked freeze, VSS on Windows; none of ours', () => {
    const ids = (name: string) => one(name).defects.map(({ id }) => id);
    const old = Number.parseInt(one('ga-1').agent?.version ?? '', 10) < 10;
    for (const name of ['ga-1', 'ga-6', 'blocked']) expect(ids(name).includes('loop-mount-deadlock'), name).toBe(old);
    expect(ids('blocked')).toContain('freeze-blocked');
    expect(ids('windows')).toEqual(['vss-full-backup']);
    expect(ids('own-1')).toEqual([]);
    if (old) expect(text).toMatch(/blocked, ga-1, ga-2, ga-3, ga-4, ga-5, ga-6: qemu-ga before 10\.0 freezes for ever/);
  });

  it('says by which way an agent could be installed, and why not by the others', () => {
    expect(way('bare-1', 'offline')).toMatchObject({ possible: false, reason: 'the domain is not off' });
    expect(way('bare-1', 'ssh')).toMatchObject({ possible: false, reason: 'needs --ssh [USER@]HOST[:PORT]' });
    expect(way('bare-1', 'iso')?.possible).toBe(true);
    expect(way('off-1', 'offline')?.possible).toBe(true);
    expect(way('off-1', 'cloud-init')).toMatchObject({ possible: false, reason: expect.stringContaining('needs --boot') as string });
    expect(way('off-1', 'ssh')?.reason).toBe('the domain is shut off');
    expect(way('ga-1', 'agent')?.possible).toBe(true);
    expect(way('own-1', 'agent')?.reason).toBe('the agent does not offer guest-exec');
    for (const { possible, reason } of one('nova').ways) {
      expect(possible).toBe(false);
      expect(reason).toMatch(/belongs to OpenStack Nova/);
    }
    expect(text).toMatch(/cloud-init \(needs --boot/);
  });

  it('shows a Windows guest the virtio-win CD and the command to type, and proves its agent without a freeze', async () => {
    const iso = path.join(rig.hypervisor.path('images'), 'virtio-win.iso');
    await writeFile(iso, Buffer.alloc(1024 * 1024), { mode: 0o644 });
    await windows.run('/rig/agent stop');
    while (await windows.isAgentConnected()) await new Promise((resolve) => setTimeout(resolve, 100));
    const before = await windows.virsh('dumpxml', windows.uuid, '--inactive', '--security-info');
    const child = cli.start('--json', 'agent', 'install', 'windows', '--via', 'iso', '--iso', iso, '--timeout', '3m');
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    while (!said.includes('msiexec') && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(said).toMatch(/msiexec \/i D:\\guest-agent\\qemu-ga-x86_64\.msi .*vioserial/);
    expect(await windows.virsh('domblklist', windows.uuid)).toContain(iso);
    await windows.run('/rig/agent start');
    const { exitCode, stdout } = await child;
    const result = installResult.parse((JSON.parse(stdout) as { domains: unknown[] }).domains[0]);
    process.stderr.write(`  windows: ${result.status} ${result.reason ?? ''}\n`);
    expect(result).toMatchObject({ status: 'ok', via: 'iso', agent: 'qemu-ga', proof: { frozenCount: 0, thawedCount: 0 } });
    expect(result.reason).toMatch(/not frozen, it is Windows; trim ready/);
    expect(exitCode).toBe(0);
    expect(await windows.virsh('domblklist', windows.uuid)).not.toContain(iso);
    expect(await windows.virsh('dumpxml', windows.uuid, '--inactive', '--security-info')).toBe(before);
  });
});
