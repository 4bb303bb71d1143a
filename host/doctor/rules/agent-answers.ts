import type { DomainRule } from '../facts.ts';
import { domainArgument } from '../subject.ts';

export const agentAnswers: DomainRule = {
  id: 'agent-answers',
  layer: 'agent',
  judge: ({ domain, agent, agentAsked }) => {
    if (domain.channel === 'absent') return null;
    if (domain.id === null) {
      return { verdict: 'unknown', evidence: `the domain is ${domain.state}`, message: 'whether an agent answers is seen when it runs' };
    }
    if (domain.channel === 'disconnected') {
      return {
        verdict: 'blocks',
        evidence: "the agent's channel is there and nobody opened it in the guest",
        message: 'no agent runs in the guest: not installed, not started, or the guest is still booting',
        fix: { command: `virt-trim agent install ${domainArgument(domain)}`, automatic: false, needsColdStart: false },
      };
    }
    if (agent === null) {
      return agentAsked
        ? null
        : { verdict: 'unknown', evidence: 'the channel is connected', message: 'the agent was not asked (--no-agent)' };
    }
    if (agent.ok) return { verdict: 'ok', evidence: `agent ${agent.facts.kind} ${agent.facts.info.version}`, message: 'it answers' };
    if (agent.error.code === 'agent-frozen') {
      return {
        verdict: 'warning',
        evidence: agent.error.message,
        message: "the guest's filesystems are frozen: they cannot be trimmed now; see virt-trim list",
      };
    }
    return {
      verdict: 'blocks',
      evidence: agent.error.message,
      message: 'the agent does not answer: restart it in the guest (systemctl restart qemu-guest-agent)',
    };
  },
};
