import { formatBytes } from '../../../shared/units.ts';
import type { DiskRule } from '../facts.ts';

/** Below this share of free space the next growing image is an I/O error, and libvirt pauses its guest. */
const leastFree = 0.05;

export const hostSpace: DiskRule = {
  id: 'host-space',
  layer: 'host',
  judge: ({ storage }) => {
    if (storage?.kind !== 'filesystem' || storage.freeBytes === null || storage.totalBytes === null || storage.totalBytes === 0)
      return null;
    if (storage.freeBytes >= storage.totalBytes * leastFree) return null;
    return {
      verdict: 'warning',
      evidence: `${formatBytes(storage.freeBytes)} of ${formatBytes(storage.totalBytes)} are free on ${storage.mountpoint}`,
      message:
        "the host's filesystem is nearly full: a guest that writes gets an I/O error and is paused; 'virt-trim sizes' shows who could fill it",
    };
  },
};
