import type { DiskRule } from '../facts.ts';

/** The file shrinks, and the pool gets nothing while somebody else still holds the blocks. */
export const hostSnapshots: DiskRule = {
  id: 'host-snapshots',
  layer: 'host',
  judge: ({ storage, shared }) => {
    if (storage?.kind === 'block') {
      const bytes = storage.zvol?.snapshotBytes ?? 0;
      if (bytes === 0) return null;
      return {
        verdict: 'warning',
        evidence: `${bytes} bytes of ${storage.zvol?.dataset ?? storage.name} are held by ZFS snapshots`,
        message: 'the volume shrinks and the pool gets nothing back until those snapshots are destroyed',
      };
    }
    if (shared === null) return null;
    if (shared.shared === null)
      return {
        verdict: 'unknown',
        evidence: shared.how,
        message: 'whether snapshots or reflinks hold the blocks cannot be seen from here',
      };
    if (!shared.shared) return null;
    return {
      verdict: 'warning',
      evidence: shared.how,
      message:
        'a snapshot or reflink copy on the host holds blocks of this image: the file shrinks, and the filesystem gets those blocks back only when the copy is gone',
    };
  },
};
