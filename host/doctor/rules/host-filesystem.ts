import { formatBytes } from '../../../shared/units.ts';
import type { Judgement } from '../finding.ts';
import type { DiskRule, FilesystemFacts, HoleProbe } from '../facts.ts';

/** Linux filesystems with FALLOC_FL_PUNCH_HOLE (fallocate(2)); ext2 and ext3 through ext4's driver since 3.16. */
const punching: readonly string[] = [
  'ext4',
  'ext3',
  'ext2',
  'xfs',
  'btrfs',
  'tmpfs',
  'f2fs',
  'ocfs2',
  'gfs2',
  'zfs',
  'bcachefs',
  'ceph',
  'hugetlbfs',
];
const notPunching: readonly string[] = ['vfat', 'msdos', 'exfat', '9p', 'reiserfs', 'jfs', 'hfsplus', 'udf', 'minix'];

/** The version as the mount negotiated it: `vers=4.2`. */
export function nfsVersion(options: readonly string[]): string | null {
  const option = options.find((one) => one.startsWith('vers=') || one.startsWith('nfsvers='));
  const version = option?.split('=')[1] ?? null;
  const minor = options.find((one) => one.startsWith('minorversion='))?.split('=')[1];
  return version === '4' && minor !== undefined ? `4.${minor}` : version;
}

function judgeProbe(hole: HoleProbe, evidence: string): Judgement {
  const { writtenBytes, afterPunchBytes, error } = hole;
  if (afterPunchBytes === null) {
    return {
      verdict: 'blocks',
      evidence: `${evidence}; a scratch file beside the image: ${error ?? 'cannot be punched'}`,
      message: 'this storage takes no holes: what the guest discards stays allocated',
    };
  }
  const freed = writtenBytes - afterPunchBytes;
  const shown = `${evidence}; a scratch file beside the image: ${formatBytes(writtenBytes)} written, ${formatBytes(afterPunchBytes)} left after punching`;
  return freed >= writtenBytes / 2
    ? { verdict: 'ok', evidence: shown, message: 'a hole gives its space back, as measured' }
    : { verdict: 'blocks', evidence: shown, message: 'punching succeeds and gives nothing back on this storage' };
}

function judgeNfs(storage: FilesystemFacts, evidence: string): Judgement {
  const version = nfsVersion(storage.options);
  if (version === '4.2') {
    return { verdict: 'ok', evidence, message: 'NFS 4.2 can punch holes (the server may still refuse: doctor --probe measures it)' };
  }
  if (version === null)
    return { verdict: 'unknown', evidence, message: 'the NFS version is not to be seen: nfsstat -m, or doctor --probe' };
  return {
    verdict: 'blocks',
    evidence,
    message: `NFS ${version} has no way to punch a hole: the image on the server never shrinks`,
    fix: { command: `mount ${storage.mountpoint} with -o vers=4.2`, automatic: false, needsColdStart: true },
  };
}

export const hostFilesystem: DiskRule = {
  id: 'host-filesystem',
  layer: 'host',
  judge: ({ storage, hole }) => {
    if (storage?.kind !== 'filesystem') return null;
    const { type, mountpoint } = storage;
    const version = type.startsWith('nfs') ? ` vers=${nfsVersion(storage.options) ?? '?'}` : '';
    const evidence = `${type}${version} on ${mountpoint}`;
    if (hole !== null) return judgeProbe(hole, evidence);
    if (type === 'nfs' || type === 'nfs4') return judgeNfs(storage, evidence);
    if (punching.includes(type)) return { verdict: 'ok', evidence, message: `${type} can punch holes` };
    if (notPunching.includes(type)) {
      return {
        verdict: 'blocks',
        evidence,
        message: `${type} cannot punch holes: what the guest discards stays allocated`,
        fix: { command: 'move the image to ext4, xfs or btrfs (virsh blockcopy while it runs)', automatic: false, needsColdStart: false },
      };
    }
    return {
      verdict: 'unknown',
      evidence,
      message: `whether ${type} punches holes is not known: doctor --probe tries it in a scratch file beside the image`,
    };
  },
};
