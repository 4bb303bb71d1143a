import { formatBytes } from '../../../shared/units.ts';
import { isUnreadableImage } from '../../sizes/image.ts';
import type { DiskRule } from '../facts.ts';
import { domainArgument } from '../subject.ts';
import { isAtLeast } from '../version.ts';

/** A little more than the metadata of a full image: beyond it the length comes from holes that trims left. */
const tolerated = 1.05;

/** Trims punch holes that a qcow2 file does not reuse in order: its length can pass its capacity, and on a device that is the end. */
export const fragmentation: DiskRule = {
  id: 'fragmentation',
  layer: 'image',
  judge: ({ domain, disk, image, domainFacts }) => {
    if (image === null || isUnreadableImage(image) || image.qcow2 === null || disk.discardNoUnref === 'on') return null;
    const { capacityBytes } = image.qcow2;
    const { libvirt, qemu } = domainFacts.host;
    const supported = libvirt !== null && qemu !== null && isAtLeast(libvirt, 9, 5) && isAtLeast(qemu, 8, 1);
    const fix = supported
      ? { command: `virt-trim fix ${domainArgument(domain)} --only discard-no-unref`, automatic: true, needsColdStart: true }
      : { command: 'discard_no_unref keeps clusters in place: it needs libvirt 9.5 and QEMU 8.1', automatic: false, needsColdStart: true };
    if (image.kind === 'block') {
      return {
        verdict: 'warning',
        evidence: 'qcow2 on a block device, discard_no_unref not set',
        message: 'repeated trims scatter the clusters until the end of the device is reached: writes fail then although there is room',
        fix,
      };
    }
    if (capacityBytes === 0 || image.lengthBytes <= capacityBytes * tolerated) return null;
    return {
      verdict: 'warning',
      evidence: `the file is ${formatBytes(image.lengthBytes)} long for a disk of ${formatBytes(capacityBytes)}`,
      message: 'repeated trims have fragmented the image: its length passes its capacity (the holes take no space), reads become slower',
      fix,
    };
  },
};
