import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';

/** A domain that is off lists no chain in its XML; then the header's word is passed on, and not followed. */
export const backingHeader: DiskRule = {
  id: 'backing-header',
  layer: 'image',
  judge: ({ disk, image }) => {
    if (disk.backing.length > 0 || image === null || isUnreadableImage(image)) return null;
    const backing = image.qcow2?.backingFile ?? null;
    if (backing === null) return null;
    return {
      verdict: 'warning',
      evidence: `the qcow2 header names a backing file: ${backing} (not followed)`,
      message: `a trim frees what ${disk.target}'s own overlay holds; nothing comes back from the image below it`,
    };
  },
};
