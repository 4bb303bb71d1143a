import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

export const imageHealth: DiskRule = {
  id: 'image-health',
  layer: 'image',
  judge: ({ image, domain }) => {
    const header = image === null || isUnreadableImage(image) ? null : image.qcow2;
    if (header?.corrupt === true) {
      return {
        verdict: 'blocks',
        evidence: 'the qcow2 header has the corrupt bit set',
        message: 'QEMU opens a corrupt image read-only at best: nothing is trimmed before it is repaired',
        fix: { command: 'with the domain off and a copy made: qemu-img check -r all', automatic: false, needsColdStart: true },
      };
    }
    if (header?.dirty === true && domain.id === null) {
      return {
        verdict: 'warning',
        evidence: 'the qcow2 header has the dirty bit set while the domain is off',
        message: 'it was not closed properly: QEMU repairs its reference counts at the next start, leaked clusters come back then',
      };
    }
    return null;
  },
};
