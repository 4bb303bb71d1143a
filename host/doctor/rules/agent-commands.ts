import { offers } from '../../agent/probe.ts';
import type { DomainRule } from '../facts.ts';

const wanted = ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw', 'guest-fsfreeze-status', 'guest-get-fsinfo'];

export const agentCommands: DomainRule = {
  id: 'agent-commands',
  layer: 'agent',
  judge: ({ agent }) => {
    if (agent?.ok !== true) return null;
    const { info, kind } = agent.facts;
    // A frozen agent lists these as disabled; that is not what this rule is about.
    if (agent.facts.frozen === 'frozen') return null;
    const where =
      'the block list of qemu-ga (BLACKLIST_RPC or FILTER_RPC_ARGS in /etc/sysconfig/qemu-ga, block-rpcs in /etc/qemu/qemu-ga.conf)';
    if (!offers(info, 'guest-fstrim')) {
      return {
        verdict: 'blocks',
        evidence: `guest-fstrim is ${info.supported_commands.some((command) => command.name === 'guest-fstrim') ? 'disabled' : 'unknown'} in the agent (${kind} ${info.version})`,
        message: 'the agent may not trim',
        fix: { command: `in the guest: take guest-fstrim off ${where}`, automatic: false, needsColdStart: false },
      };
    }
    const missing = wanted.filter((command) => !offers(info, command));
    if (missing.length === 0) return null;
    return {
      verdict: 'warning',
      evidence: `disabled in the agent: ${missing.join(', ')}`,
      message: 'it can be trimmed, and cannot be quiesced',
      fix: { command: `in the guest: take them off ${where}`, automatic: false, needsColdStart: false },
    };
  },
};
