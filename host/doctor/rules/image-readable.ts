import { isUnreadableImage } from '../../sizes/image.ts';
import { hasFilePath } from '../subject.ts';
import type { DiskRule } from '../facts.ts';

export const imageReadable: DiskRule = {
  id: 'image-readable',
  layer: 'image',
  judge: ({ disk, image, domainFacts }) => {
    if (image === null) {
      if (domainFacts.host.isLocal || !hasFilePath(disk)) return null;
      return {
        verdict: 'unknown',
        evidence: `${disk.source ?? disk.type} is on another host`,
        message: 'the image and the storage below it cannot be seen from here: run doctor on that host',
      };
    }
    if (!isUnreadableImage(image)) return null;
    return {
      verdict: 'unknown',
      evidence: `${image.path} ${image.problem}`,
      message: 'nothing can be said of the image: run doctor as root on its host, or activate its pool',
    };
  },
};
