import type { DomainRule } from '../facts.ts';
import { isAtLeast, parseVersion } from '../version.ts';

/** Defects that are known and that matter for what we ask of an agent. */
export const agentVersion: DomainRule = {
  id: 'agent-version',
  layer: 'agent',
  judge: ({ agent }) => {
    if (agent?.ok !== true || agent.facts.kind !== 'qemu-ga') return null;
    const { info, filesystems } = agent.facts;
    const version = parseVersion(info.version);
    if (version === null) return null;
    const evidence = `qemu-ga ${info.version}`;
    if (!isAtLeast(version, 2, 4)) {
      return {
        verdict: 'warning',
        evidence,
        message: 'before 2.4 the answer to a trim says nothing about its paths: only the measure on the host tells',
      };
    }
    const loops = (filesystems ?? []).filter((filesystem) => /^loop\d/.test(filesystem.name)).map((filesystem) => filesystem.mountpoint);
    if (loops.length === 0 || isAtLeast(version, 10)) return null;
    return {
      verdict: 'warning',
      evidence: `${evidence} with a loop mount at ${loops.slice(0, 3).join(', ')}`,
      message:
        'before 10.0 a freeze can deadlock for ever where a loop mount meets a bind mount of the filesystem below it; a trim is not concerned',
    };
  },
};
