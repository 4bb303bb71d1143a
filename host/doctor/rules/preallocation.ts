import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

/** Less than this is missing: the image was allocated as a whole. Filesystems round, qcow2 adds metadata. */
const wholly = 0.99;

/** From outside, an image that was preallocated looks like one that has been filled: both are said. */
export const preallocation: DiskRule = {
  id: 'preallocation',
  layer: 'image',
  judge: ({ image }) => {
    if (image === null || isUnreadableImage(image) || image.kind !== 'file' || image.allocationBytes === null) return null;
    const capacity = image.format === 'raw' ? image.lengthBytes : (image.qcow2?.capacityBytes ?? null);
    if (capacity === null || capacity === 0 || image.allocationBytes < capacity * wholly) return null;
    return {
      verdict: 'warning',
      evidence: `${image.allocationBytes} of ${capacity} bytes are allocated`,
      message:
        'every block is allocated: filled up in time, or preallocated on purpose (falloc, full). A trim gives space back, and undoes a preallocation: the guarantee that a write never fails for lack of space is gone after it',
    };
  },
};
