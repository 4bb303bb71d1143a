import { describe, expect, it } from 'vitest';
import type { AgentFacts } from '../../../host/agent/probe.ts';
import { planInstall, judgeWays, type Plan } from '../../../host/install/plan.ts';
import { planRemove } from '../../../host/install/plan-remove.ts';
import type { Receipt } from '../../../host/install/receipt.ts';
import type { Situation } from '../../../host/install/situation.ts';
import { describeStep } from '../../../host/install/steps.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';

const room = { present: false, hotplug: true, obstacle: null };
const options = { via: null, agent: null, packages: [], ssh: null, iso: null, boot: false, upgrade: false, print: false };

function domainXml(disk: string, metadata = ''): string {
  return `<domain type='kvm'><name>web1</name><uuid>0b0f1f0a-0000-4000-8000-000000000001</uuid>${metadata}
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>${disk}</devices></domain>`;
}

const plainDisk = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/web1.qcow2'/><target dev='vda' bus='virtio'/></disk>`;

function situation(change: Partial<Situation> & { state?: 'running' | 'shut off' | 'paused'; xml?: string } = {}): Situation {
  const { state = 'shut off', xml = domainXml(plainDisk), ...rest } = change;
  const description = parseDomainXml(xml);
  return {
    domain: { ...description, id: state === 'shut off' ? null : 7, state, stateReason: null, stats: null },
    isLocal: true,
    channel: { live: state === 'shut off' ? null : room, persistent: room },
    hasManagedSave: false,
    agent: null,
    agentProblem: null,
    tools: { guestfish: '/usr/bin/guestfish', isoMaker: '/usr/bin/xorriso', ssh: '/usr/bin/ssh' },
    own: [{ arch: 'x86_64', file: '/a' }],
    receipt: null,
    ...rest,
  };
}

function agent(commands: readonly string[]): AgentFacts {
  return {
    info: { version: '7.2.22', supported_commands: commands.map((name) => ({ name, enabled: true })) },
    kind: 'qemu-ga',
    os: null,
    osText: null,
    isWindows: false,
    frozen: 'thawed',
    filesystems: null,
  };
}

const receipt: Receipt = {
  v: 1,
  uuid: '0b0f1f0a-0000-4000-8000-000000000001',
  name: 'web1',
  via: 'offline',
  agent: 'qemu-ga',
  channel: { live: false, config: true },
  xmlBefore: '<domain/>',
  xmlAfter: '<domain/>',
  installedAt: '2026-11-22T08:00:00.000Z',
  proven: false,
};

function kinds(plan: Plan): string[] {
  return plan.verdict === 'go' ? (plan.attempts[0]?.steps ?? []).map((step) => step.kind) : [plan.verdict];
}

function reasonOf(plan: Plan): string {
  return plan.verdict === 'go' ? '' : plan.reason;
}

describe('planInstall', () => {
  it('changes an image that is off in an overlay, adds the channel, and commits last', () => {
    const plan = planInstall(situation(), options);
    expect(kinds(plan)).toEqual(['overlay', 'change-image', 'keep-xml', 'add-channel', 'commit-image']);
    expect(plan.verdict === 'go' && plan.attempts[0]?.pending?.code).toBe('needs-boot');
    expect(kinds(planInstall(situation(), { ...options, boot: true }))).toEqual(
      'overlay change-image keep-xml add-channel commit-image start await-agent prove stop'.split(' '),
    );
  });

  it('adds the channel live and persistently before it goes in over ssh, and proves it', () => {
    const plan = planInstall(situation({ state: 'running' }), { ...options, ssh: 'root@web1' });
    expect(kinds(plan)).toEqual(['keep-xml', 'add-channel', 'add-channel', 'run-ssh', 'await-agent', 'prove']);
  });

  it('leaves a channel alone that is there', () => {
    const there = { ...room, present: true };
    const plan = planInstall(situation({ state: 'running', channel: { live: there, persistent: there } }), {
      ...options,
      ssh: 'root@web1',
    });
    expect(kinds(plan)).toEqual(['run-ssh', 'await-agent', 'prove']);
  });

  it('says that a cold start is needed where the running machine has no room, and proves nothing before it', () => {
    const channel = { live: { present: false, hotplug: false, obstacle: 'no controller' }, persistent: room };
    const plan = planInstall(situation({ state: 'running', channel }), { ...options, ssh: 'root@web1' });
    expect(kinds(plan)).toEqual(['keep-xml', 'add-channel', 'run-ssh']);
    expect(plan.verdict === 'go' && plan.attempts[0]?.pending?.code).toBe('needs-cold-start');
  });

  it('never rewrites the XML of a domain that a manager owns', () => {
    const metadata = `<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'/></metadata>`;
    expect(reasonOf(planInstall(situation({ xml: domainXml(plainDisk, metadata) }), options))).toMatch(/belongs to OpenStack Nova/);
  });

  it('says so where an agent answers; --upgrade goes through it', () => {
    const facts = agent(['guest-exec', 'guest-exec-status', 'guest-fsfreeze-freeze']);
    expect(planInstall(situation({ state: 'running', agent: facts }), options)).toMatchObject({ verdict: 'present' });
    expect(kinds(planInstall(situation({ state: 'running', agent: facts }), { ...options, upgrade: true }))).toContain('run-agent');
    const mute = agent(['guest-fsfreeze-freeze']);
    expect(reasonOf(planInstall(situation({ state: 'running', agent: mute }), { ...options, upgrade: true }))).toMatch(
      /does not offer guest-exec/,
    );
  });

  it('upgrades an agent to a newer one of its kind; another beside it would fight for the port', () => {
    const facts = agent(['guest-exec', 'guest-exec-status', 'guest-fsfreeze-freeze']);
    const running = situation({ state: 'running', agent: facts });
    expect(reasonOf(planInstall(running, { ...options, upgrade: true, agent: 'virt-trim' }))).toMatch(/two agents cannot share the port/);
    const plan = planInstall(running, { ...options, upgrade: true, ssh: 'root@web1', via: 'ssh' });
    expect(plan.verdict === 'go' && plan.attempts[0]?.agent).toBe('qemu-ga');
  });

  it('seeds no guest that may have a seed of its own in its drive', () => {
    const drive = `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/seed.iso'/><target dev='sda' bus='sata'/></disk>`;
    const plan = planInstall(situation({ xml: domainXml(plainDisk + drive) }), { ...options, via: 'cloud-init', boot: true });
    expect(reasonOf(plan)).toMatch(/a CD is in sda, which may be its own seed/);
    expect(kinds(planInstall(situation(), { ...options, via: 'cloud-init', boot: true }))).toContain('attach-seed');
  });

  it('touches no frozen guest', () => {
    const facts = { ...agent([]), frozen: 'frozen' as const };
    expect(planInstall(situation({ state: 'running', agent: facts }), { ...options, upgrade: true })).toMatchObject({
      code: 'agent-frozen',
    });
  });

  it('names every way and why it is none, where nothing can be done unasked', () => {
    const reason = reasonOf(planInstall(situation({ state: 'running' }), options));
    expect(reason).toMatch(/offline: the domain is not off/);
    expect(reason).toMatch(/ssh: needs --ssh/);
    expect(reason).toMatch(/iso: possible with --via iso/);
  });

  it('has what was installed and not proven proven, and installs nothing again', () => {
    const there = { ...room, present: true };
    const running = situation({ state: 'running', channel: { live: there, persistent: there }, receipt });
    expect(kinds(planInstall(running, options))).toEqual(['await-agent', 'prove']);
    expect(kinds(planInstall(situation({ receipt }), { ...options, boot: true }))).toEqual(['start', 'await-agent', 'prove', 'stop']);
    expect(planInstall(situation({ receipt }), options)).toMatchObject({ code: 'needs-boot' });
  });
});

describe('the offline way', () => {
  const offline = (change: Parameters<typeof situation>[0]) =>
    judgeWays(situation(change), options).find(({ way }) => way === 'offline')?.reason;

  it('is refused where the image could not be put back or must not be opened', () => {
    expect(offline({ state: 'running' })).toBe('the domain is not off');
    expect(offline({ hasManagedSave: true })).toMatch(/managed save/);
    expect(offline({ isLocal: false })).toMatch(/another host/);
    expect(offline({ tools: { guestfish: null, isoMaker: null, ssh: null } })).toMatch(/guestfish is not installed/);
    const encrypted = plainDisk.replace('</disk>', "<encryption format='luks'/></disk>");
    expect(offline({ xml: domainXml(encrypted) })).toMatch(/encrypted/);
    expect(offline({ xml: domainXml(plainDisk.replace('</disk>', '<shareable/></disk>')) })).toMatch(/shared/);
    const network = `<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='p/i'/><target dev='vda' bus='virtio'/></disk>`;
    expect(offline({ xml: domainXml(network) })).toMatch(/not opened offline/);
    expect(offline({})).toBe('possible');
  });
});

describe('planRemove', () => {
  it('takes nothing that we have not brought', () => {
    expect(planRemove(situation(), { via: null, ssh: null })).toMatchObject({ verdict: 'refused', code: 'not-ours' });
  });

  it('takes only the channel where no agent got in yet', () => {
    expect(kinds(planRemove(situation({ receipt: { ...receipt, agent: null } }), { via: null, ssh: null }))).toEqual(['drop-channel']);
    expect(kinds(planInstall(situation({ receipt: { ...receipt, agent: null } }), options))).toContain('change-image');
  });

  it('takes the channel only where it came with the agent', () => {
    expect(kinds(planRemove(situation({ receipt }), { via: null, ssh: null }))).toEqual([
      'overlay',
      'change-image',
      'commit-image',
      'drop-channel',
    ]);
    const without = { ...receipt, channel: { live: false, config: false } };
    expect(kinds(planRemove(situation({ receipt: without }), { via: null, ssh: null }))).not.toContain('drop-channel');
  });
});

describe('describeStep', () => {
  it('words every step', () => {
    const plan = planInstall(situation(), { ...options, boot: true });
    if (plan.verdict !== 'go') throw new Error(plan.reason);
    for (const step of plan.attempts[0]?.steps ?? []) expect(describeStep(step)).toMatch(/^[a-z].{10}/);
  });
});
