import type { AgentChoice } from './ways.ts';

/** What an install or a removal consists of, as data: `--dry-run` prints it, `execute.ts` does it, the journal can undo it. */
export type Step =
  | { readonly kind: 'keep-xml' }
  | { readonly kind: 'add-channel'; readonly to: 'live' | 'config' }
  | { readonly kind: 'overlay'; readonly disks: readonly OfflineDisk[] }
  | { readonly kind: 'change-image'; readonly verb: 'install' | 'remove'; readonly agent: AgentChoice | null }
  | { readonly kind: 'commit-image' }
  | { readonly kind: 'run-ssh'; readonly verb: 'install' | 'remove'; readonly destination: string; readonly agent: AgentChoice | null }
  | { readonly kind: 'run-agent'; readonly agent: AgentChoice }
  | { readonly kind: 'attach-seed'; readonly agent: AgentChoice }
  | { readonly kind: 'attach-iso'; readonly verb: 'install' | 'remove'; readonly iso: string | null }
  | { readonly kind: 'ask-console'; readonly line: string }
  | { readonly kind: 'start' }
  | { readonly kind: 'await-agent' }
  | { readonly kind: 'prove' }
  | { readonly kind: 'await-gone' }
  | { readonly kind: 'eject' }
  | { readonly kind: 'stop' }
  | { readonly kind: 'drop-channel' };

export interface OfflineDisk {
  readonly target: string;
  readonly file: string;
  readonly format: 'qcow2' | 'raw';
}

const agentNames: Readonly<Record<AgentChoice, string>> = {
  'qemu-ga': "the distribution's qemu-guest-agent",
  'virt-trim': "virt-trim's own agent",
};

function agentName(agent: AgentChoice | null): string {
  return agent === null ? `${agentNames['qemu-ga']}, or where there is none ${agentNames['virt-trim']}` : agentNames[agent];
}

function change(verb: 'install' | 'remove', agent: AgentChoice | null): string {
  return verb === 'install'
    ? `install ${agentName(agent)} and enable its service`
    : 'remove what was installed, by the list that the guest keeps';
}

/** One line for a person. */
export function describeStep(step: Step): string {
  switch (step.kind) {
    case 'keep-xml':
      return 'keep a copy of the persistent XML';
    case 'add-channel':
      return `add the channel org.qemu.guest_agent.0 to the ${step.to === 'live' ? 'running machine' : 'persistent XML'}`;
    case 'overlay':
      return `put an overlay over ${step.disks.map((disk) => disk.target).join(', ')}: the images stay as they are until the end`;
    case 'change-image':
      return `in the overlay (libguestfs): find the system, ${change(step.verb, step.agent)}`;
    case 'commit-image':
      return 'commit the overlay into the images';
    case 'run-ssh':
      return `over ssh to ${step.destination}: ${change(step.verb, step.agent)}`;
    case 'run-agent':
      return `through the agent that is there (guest-exec): ${change('install', step.agent)}`;
    case 'attach-seed':
      return `attach a cloud-init seed (NoCloud, label CIDATA) that tells the guest to install ${agentName(step.agent)}`;
    case 'attach-iso':
      return step.iso === null ? 'attach an ISO with the agent and its install script' : `attach ${step.iso}`;
    case 'ask-console':
      return `as root on the guest's console type: ${step.line}`;
    case 'start':
      return 'start the domain';
    case 'await-agent':
      return 'wait until the agent has opened its port and answers';
    case 'prove':
      return 'prove it: freeze and thaw under a lease, and the dry run of a trim';
    case 'await-gone':
      return 'wait until the agent has let go of its port';
    case 'eject':
      return 'take the ISO away';
    case 'stop':
      return 'shut the domain down again';
    default:
      return 'take the channel away';
  }
}
