import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

/** The old format has no zero clusters: a discarded cluster would show the backing file's old data, so QEMU keeps it (block/qcow2-cluster.c; measured). */
export const qcow2Compat: DiskRule = {
  id: 'qcow2-compat',
  layer: 'image',
  judge: ({ disk, image }) => {
    const header = image === null || isUnreadableImage(image) ? null : image.qcow2;
    if (header === null || header.compat !== '0.10') return null;
    const evidence = 'qcow2 compat=0.10';
    if (header.backingFile === null && disk.backing.length === 0) {
      return { verdict: 'ok', evidence, message: 'the old format gives discarded clusters back, as long as it has no backing file' };
    }
    return {
      verdict: 'blocks',
      evidence: `${evidence} with a backing file`,
      message: 'the old format has no zero clusters: over a backing file QEMU keeps every cluster that is discarded',
      fix: { command: 'with the domain off: qemu-img amend -f qcow2 -o compat=1.1 IMAGE', automatic: false, needsColdStart: true },
    };
  },
};
