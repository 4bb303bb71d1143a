import type { DomainRule } from '../facts.ts';

/** Linux filesystems without FITRIM. vfat has it since 4.19, exfat since 5.13, ntfs3 since 5.15. */
const deaf: readonly string[] = [
  'reiserfs',
  'hfs',
  'hfsplus',
  'minix',
  'ufs',
  'udf',
  'bfs',
  'sysv',
  'affs',
  'adfs',
  'erofs',
  'squashfs',
  'iso9660',
];
/** No filesystem of the disk needs a trim: images that are mounted read-only by nature. */
const readOnlyByNature: readonly string[] = ['squashfs', 'iso9660', 'erofs'];

export const guestFilesystems: DomainRule = {
  id: 'guest-filesystems',
  layer: 'guest',
  judge: ({ agent }) => {
    if (agent?.ok !== true || agent.facts.filesystems === null || agent.facts.isWindows) return null;
    const concerned = agent.facts.filesystems.filter((filesystem) => !readOnlyByNature.includes(filesystem.type));
    const without = concerned.filter((filesystem) => deaf.includes(filesystem.type));
    if (without.length === 0) return null;
    const names = without.map((filesystem) => `${filesystem.mountpoint} (${filesystem.type})`);
    const all = without.length === concerned.length;
    return {
      verdict: all ? 'blocks' : 'warning',
      evidence: names.slice(0, 5).join(', '),
      message: `${all ? 'no filesystem of the guest' : 'these filesystems'} ${all ? 'supports' : 'do not support'} a trim`,
    };
  },
};
