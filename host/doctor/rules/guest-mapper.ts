import type { DomainRule } from '../facts.ts';

/** LUKS without `discard`, and LVM over something without it, drop discards inside the guest. From outside a mapping is only a name. */
export const guestMapper: DomainRule = {
  id: 'guest-mapper',
  layer: 'guest',
  judge: ({ agent }) => {
    if (agent?.ok !== true || agent.facts.filesystems === null) return null;
    const mapped = agent.facts.filesystems.filter((filesystem) => /^(dm-|mapper\/|md\d)/.test(filesystem.name));
    if (mapped.length === 0) return null;
    return {
      verdict: 'unknown',
      evidence: mapped
        .slice(0, 5)
        .map((filesystem) => `${filesystem.mountpoint} on ${filesystem.name}`)
        .join(', '),
      message:
        "the guest's device mapper lies between: LVM passes discards, LUKS only where /etc/crypttab says discard, RAID where all its disks do. 'lsblk -D' in the guest shows it (DISC-MAX 0 means no), a trim answers \"trim not supported\"",
    };
  },
};
