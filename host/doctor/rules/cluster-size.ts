import { formatBytes } from '../../../shared/units.ts';
import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

const large = 1024 ** 2;

/** qcow2 frees whole clusters (64 KiB by default): a shorter run of free blocks frees nothing, and no message says so. */
export const clusterSize: DiskRule = {
  id: 'cluster-size',
  layer: 'image',
  judge: ({ image }) => {
    const header = image === null || isUnreadableImage(image) ? null : image.qcow2;
    if (header === null) return null;
    const evidence = `qcow2 clusters of ${formatBytes(header.clusterBytes)}`;
    if (header.clusterBytes < large)
      return { verdict: 'ok', evidence, message: `free runs shorter than ${formatBytes(header.clusterBytes)} free nothing` };
    return {
      verdict: 'warning',
      evidence,
      message: `only free runs of ${formatBytes(header.clusterBytes)} and more come back: in a filesystem with small files that can be little`,
      fix: { command: 'with the domain off: qemu-img convert -O qcow2 -o cluster_size=64k', automatic: false, needsColdStart: true },
    };
  },
};
