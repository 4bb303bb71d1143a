import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

/** The XML's format counts. What a raw disk begins with is the guest's to write. */
export const formatMismatch: DiskRule = {
  id: 'format-mismatch',
  layer: 'image',
  judge: ({ image }) => {
    if (image === null || isUnreadableImage(image)) return null;
    if (image.format === 'qcow2' && image.qcow2 === null) {
      return {
        verdict: 'blocks',
        evidence: `<driver type='qcow2'/>, and ${image.path} has no valid qcow2 header`,
        message: 'QEMU cannot open this image as qcow2: the format in the XML is wrong, or the image is broken',
      };
    }
    if (image.format === 'raw' && image.looksLikeQcow2) {
      return {
        verdict: 'warning',
        evidence: `<driver type='raw'/>, and ${image.path} begins with a qcow2 header`,
        message:
          'either the format in the XML is wrong (the guest sees a disk as small as the file), or the guest wrote that header to make a tool probe it: never open it without -f raw',
      };
    }
    return null;
  },
};
