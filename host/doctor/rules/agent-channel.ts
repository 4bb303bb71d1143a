import type { DomainRule } from '../facts.ts';
import { domainArgument } from '../subject.ts';

export const agentChannel: DomainRule = {
  id: 'agent-channel',
  layer: 'agent',
  judge: ({ domain }) =>
    domain.channel === 'absent'
      ? {
          verdict: 'blocks',
          evidence: "no <channel> 'org.qemu.guest_agent.0' in the XML",
          message: 'nobody can ask this guest to trim from the host; it can still trim by itself (fstrim.timer)',
          fix: { command: `virt-trim agent install ${domainArgument(domain)}`, automatic: false, needsColdStart: false },
        }
      : null,
};
