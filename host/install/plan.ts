import { offers } from '../agent/probe.ts';
import type { DiskDescription } from '../libvirt/domain-xml.ts';
import { isTrimmable } from '../doctor/subject.ts';
import type { InstallOptions } from './options.ts';
import type { Situation } from './situation.ts';
import type { OfflineDisk, Step } from './steps.ts';
import type { WayVerdict } from './schema.ts';
import { ways, type AgentChoice, type Way } from './ways.ts';

/** What is to be done with a domain. Pure: made from the situation alone. */
export type Plan =
  | { readonly verdict: 'present'; readonly reason: string }
  | { readonly verdict: 'refused'; readonly code: string; readonly reason: string; readonly neutral: boolean }
  | { readonly verdict: 'go'; readonly attempts: readonly Attempt[] };

/** One way, and its steps. */
export interface Attempt {
  readonly via: Way;
  readonly agent: AgentChoice | null;
  readonly steps: readonly Step[];
  /** What has to happen outside of us before the agent can be proven; null where the steps prove it. */
  readonly pending: { readonly code: 'needs-cold-start' | 'needs-boot'; readonly reason: string } | null;
}

type PlanOptions = Pick<InstallOptions, 'via' | 'agent' | 'packages' | 'ssh' | 'iso' | 'boot' | 'upgrade' | 'print'>;

function offlineObstacle(disk: DiskDescription): string | null {
  if (disk.encryption !== null) return `${disk.target} is encrypted (${disk.encryption}): libguestfs would need its key`;
  if (disk.shareable) return `${disk.target} is shared with other domains`;
  if (disk.type !== 'file' && disk.type !== 'block') return `${disk.target} is on ${disk.type}, which is not opened offline`;
  if (disk.format !== 'qcow2' && disk.format !== 'raw') return `${disk.target} has the format ${disk.format ?? 'unknown'}`;
  return null;
}

/** The disks that libguestfs is given. */
export function offlineDisks(situation: Situation): OfflineDisk[] {
  return situation.domain.disks.filter(isTrimmable).flatMap((disk) => {
    const { format, source, target } = disk;
    return source !== null && (format === 'qcow2' || format === 'raw') ? [{ target, file: source, format }] : [];
  });
}

/** Why a way cannot be gone, or null. */
function obstacle(way: Way, situation: Situation, options: PlanOptions): string | null {
  const { domain, tools, isLocal } = situation;
  if (domain.manager !== null) return `its XML belongs to ${domain.manager}: switch the guest agent on there`;
  const running = domain.state === 'running';
  switch (way) {
    case 'agent':
      if (situation.agent === null) return 'no agent answers';
      if (situation.agent.isWindows) return 'not for Windows';
      return offers(situation.agent.info, 'guest-exec') && offers(situation.agent.info, 'guest-exec-status')
        ? null
        : 'the agent does not offer guest-exec';
    case 'offline':
      if (domain.id !== null) return 'the domain is not off';
      if (situation.hasManagedSave) return 'its memory is saved (managed save): start it, or drop that with virsh managedsave-remove';
      if (!isLocal) return 'its images are on another host; run virt-trim there';
      if (tools.guestfish === null) return 'guestfish is not installed (Debian: guestfish, Fedora: guestfs-tools)';
      if (offlineDisks(situation).length === 0) return 'it has no disk';
      return (
        domain.disks
          .filter(isTrimmable)
          .map(offlineObstacle)
          .find((reason) => reason !== null) ?? null
      );
    case 'ssh':
      if (!running) return `the domain is ${domain.state}`;
      if (tools.ssh === null) return 'ssh is not installed';
      return options.ssh === null ? 'needs --ssh [USER@]HOST[:PORT]' : null;
    case 'cloud-init':
      if (options.print) return null;
      if (domain.id !== null) return 'the domain is not off: cloud-init looks for its seed at boot';
      if (!isLocal) return 'the seed would have to lie on another host; use --print';
      if (tools.isoMaker === null) return 'no program that makes ISO images (xorriso, genisoimage)';
      // Two seeds at once, and back to the first at the next boot: each time a new instance with all that follows.
      for (const { device, source, target } of domain.disks)
        if (device === 'cdrom' && source !== null) return `a CD is in ${target}, which may be its own seed; eject it first`;
      return options.boot ? null : 'needs --boot, or --print to hand the seed out yourself';
    default:
      if (!running) return `the domain is ${domain.state}`;
      if (!isLocal) return 'the ISO would have to lie on another host';
      return tools.isoMaker === null && options.iso === null ? 'no program that makes ISO images (xorriso, genisoimage)' : null;
  }
}

/** Every way, and why it is not possible where it is not. */
export function judgeWays(situation: Situation, options: PlanOptions): WayVerdict[] {
  return ways.map((way) => {
    const reason = obstacle(way, situation, options);
    return { way, possible: reason === null, reason: reason ?? 'possible' };
  });
}

/** `iso` needs a person at the console, and cloud-init acts at the next boot: neither is begun unasked. */
const unasked: readonly Way[] = ['offline', 'ssh'];

function channelSteps({ channel }: Situation): Step[] {
  const steps: Step[] = [];
  if (channel.persistent !== null && !channel.persistent.present) steps.push({ kind: 'keep-xml' }, { kind: 'add-channel', to: 'config' });
  if (channel.live !== null && !channel.live.present && channel.live.hotplug) steps.push({ kind: 'add-channel', to: 'live' });
  return steps;
}

/** A machine that runs without the channel and has no room for one. */
export function needsColdStart({ channel }: Pick<Situation, 'channel'>): boolean {
  return channel.live !== null && !channel.live.present && !channel.live.hotplug;
}

/** Finds the ISO without blkid or udev (busybox has neither its labels nor its links), and waits until the guest has seen it. */
export const isoLine =
  'until [ -e /mnt/install.sh ]; do sleep 1; for d in /dev/sr? /dev/[sv]d?; do ' +
  'mount -rt iso9660 $d /mnt 2>/dev/null && { [ -e /mnt/install.sh ] && break; umount /mnt; }; done; done; sh /mnt/install.sh';
const windowsLine = 'msiexec /i D:\\guest-agent\\qemu-ga-x86_64.msi /qn   (D: is the virtio-win CD; install its vioserial driver first)';

function attempt(via: Way, situation: Situation, options: PlanOptions): Attempt {
  const head = channelSteps(situation);
  const cold = needsColdStart(situation);
  const agent = options.agent;
  const finish: Step[] = [{ kind: 'await-agent' }, { kind: 'prove' }];
  const coldStart = {
    code: 'needs-cold-start',
    reason: `${situation.channel.live?.obstacle ?? ''}: the channel is in the persistent XML and comes with the next cold start (a full stop and start, not a reboot); then run this again`,
  } as const;
  switch (via) {
    case 'agent':
      return {
        via,
        agent: agent ?? (situation.agent?.kind === 'virt-trim' ? 'virt-trim' : 'qemu-ga'),
        pending: null,
        steps: [{ kind: 'run-agent', agent: agent ?? 'qemu-ga' }, ...finish],
      };
    case 'offline': {
      // The channel comes before the commit: once the images are changed, only going forward is left.
      const change: Step[] = [
        { kind: 'overlay', disks: offlineDisks(situation) },
        { kind: 'change-image', verb: 'install', agent },
        ...head,
        { kind: 'commit-image' },
      ];
      if (options.boot) return { via, agent, pending: null, steps: [...change, { kind: 'start' }, ...finish, { kind: 'stop' }] };
      const reason = 'it is installed and enabled; start the domain, then run this again to have it proven (or give --boot)';
      return { via, agent, pending: { code: 'needs-boot', reason }, steps: change };
    }
    case 'ssh': {
      const run: Step = { kind: 'run-ssh', verb: 'install', destination: options.ssh ?? '', agent };
      return { via, agent, pending: cold ? coldStart : null, steps: [...head, run, ...(cold ? [] : finish)] };
    }
    case 'cloud-init':
      return {
        via,
        agent: agent ?? 'qemu-ga',
        pending: null,
        steps: [
          ...head,
          { kind: 'attach-seed', agent: agent ?? 'qemu-ga' },
          { kind: 'start' },
          ...finish,
          { kind: 'stop' },
          { kind: 'eject' },
        ],
      };
    default:
      if (cold) return { via, agent, pending: coldStart, steps: head };
      return {
        via,
        agent: options.iso === null ? 'virt-trim' : 'qemu-ga',
        pending: null,
        steps: [
          ...head,
          { kind: 'attach-iso', verb: 'install', iso: options.iso },
          { kind: 'ask-console', line: options.iso === null ? isoLine : windowsLine },
          { kind: 'await-agent' },
          { kind: 'eject' },
          { kind: 'prove' },
        ],
      };
  }
}

function refuse(code: string, reason: string, neutral = false): Plan {
  return { verdict: 'refused', code, reason, neutral };
}

/** Something we installed that has not been proven yet. */
function finishPlan(situation: Situation, options: PlanOptions): Plan | null {
  const { receipt, domain } = situation;
  if (receipt === null || receipt.agent === null || receipt.proven) return null;
  const prove: Step[] = [{ kind: 'await-agent' }, { kind: 'prove' }];
  const via = ways.find((way) => way === receipt.via) ?? 'offline';
  if (domain.id === null) {
    if (!options.boot)
      return refuse('needs-boot', 'its agent is installed but not proven yet; start the domain and run this again, or give --boot');
    return {
      verdict: 'go',
      attempts: [{ via, agent: receipt.agent, pending: null, steps: [{ kind: 'start' }, ...prove, { kind: 'stop' }] }],
    };
  }
  if (needsColdStart(situation))
    return refuse(
      'needs-cold-start',
      'its agent is installed, and the running machine still has no channel: it needs a cold start (a full stop and start)',
    );
  return { verdict: 'go', attempts: [{ via, agent: receipt.agent, pending: null, steps: prove }] };
}

/** Decides what an install has to do. @param options what was asked for. */
export function planInstall(situation: Situation, options: PlanOptions): Plan {
  const { domain, agent } = situation;
  if (domain.type !== 'kvm' && domain.type !== 'qemu') return refuse('refused', `a domain of type ${domain.type} has no QEMU guest agent`);
  if (domain.manager !== null)
    return refuse('refused', `its XML belongs to ${domain.manager}: switch the guest agent on there (virt-trim never rewrites it)`, true);
  const unfinished = options.upgrade ? null : finishPlan(situation, options);
  if (unfinished !== null) return unfinished;
  if (agent !== null && !options.upgrade) {
    return { verdict: 'present', reason: `${agent.kind} ${agent.info.version} answers already; --upgrade replaces it with a newer one` };
  }
  if (agent !== null && options.agent !== null && options.agent !== agent.kind)
    return refuse(
      'refused',
      `${agent.kind} ${agent.info.version} answers, and two agents cannot share the port: take that one out first, then install ${options.agent}`,
    );
  if (agent?.frozen === 'frozen') return refuse('agent-frozen', 'its file systems are frozen: nothing can be installed now');
  if (situation.agentProblem !== null && options.via === null)
    return refuse(
      'agent-silent',
      `an agent is connected and does not answer (${situation.agentProblem}); restart it in the guest, or name a way with --via`,
    );
  if (domain.state !== 'running' && domain.state !== 'shut off') return refuse('domain-not-running', `it is ${domain.state}`, true);
  // An upgrade is one of the agent that is there.
  const kept = agent === null || agent.kind === 'unknown' ? options : { ...options, agent: agent.kind };
  const verdicts = judgeWays(situation, options);
  const asked = options.via ?? (agent !== null && options.upgrade && options.ssh === null ? 'agent' : null);
  if (asked !== null) {
    const verdict = verdicts.find((one) => one.way === asked);
    if (verdict?.possible !== true) return refuse('way-impossible', `${asked}: ${verdict?.reason ?? ''}`);
    return { verdict: 'go', attempts: [attempt(asked, situation, kept)] };
  }
  const possible = verdicts.filter((verdict) => verdict.possible && unasked.includes(verdict.way as Way));
  if (possible.length === 0) {
    const reasons = verdicts
      .filter(({ way }) => way !== 'agent')
      .map(({ way, possible: yes, reason }) => `${way}: ${yes ? `possible with --via ${way}` : reason}`);
    return refuse('no-way', `no way that needs nobody: ${reasons.join('; ')}`, true);
  }
  return { verdict: 'go', attempts: possible.map(({ way }) => attempt(way as Way, situation, kept)) };
}
