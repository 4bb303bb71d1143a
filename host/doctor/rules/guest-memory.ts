import type { DomainRule } from '../facts.ts';

/** So that a second trim which reports 0 is not taken for a fault. */
export const guestMemory: DomainRule = {
  id: 'guest-memory',
  layer: 'guest',
  judge: ({ agent }) => {
    if (agent?.ok !== true || agent.facts.filesystems === null) return null;
    const ext4 = agent.facts.filesystems.filter((filesystem) => filesystem.type === 'ext4');
    if (ext4.length === 0) return null;
    return {
      verdict: 'ok',
      evidence: `ext4 at ${ext4
        .slice(0, 5)
        .map((filesystem) => filesystem.mountpoint)
        .join(', ')}`,
      message:
        'ext4 remembers which groups it trimmed until it is mounted anew, also where the discard got lost on the way: after a fix, only a cold start makes it try them again',
    };
  },
};
