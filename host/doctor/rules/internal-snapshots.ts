import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';
import { domainArgument } from '../subject.ts';

export const internalSnapshots: DiskRule = {
  id: 'internal-snapshots',
  layer: 'image',
  judge: ({ domain, image }) => {
    const count = image === null || isUnreadableImage(image) ? 0 : (image.qcow2?.internalSnapshots ?? 0);
    if (count === 0) return null;
    return {
      verdict: 'warning',
      evidence: `${count} internal snapshot${count === 1 ? '' : 's'} in the qcow2 header`,
      message: 'what was written before a snapshot stays in the image until that snapshot is deleted; only newer data comes back',
      fix: {
        command: `virsh snapshot-list ${domainArgument(domain)}; virsh snapshot-delete ${domainArgument(domain)} NAME for those you no longer need`,
        automatic: false,
        needsColdStart: false,
      },
    };
  },
};
