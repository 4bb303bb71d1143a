import { cleanText } from '../../../shared/clean-text.ts';
import type { XmlRule } from '../subject.ts';

/** `-set device.scsi0-0-0.discard=on` and the like: what libvirt does not know, we cannot judge. */
export const qemuArguments: XmlRule = {
  id: 'qemu-arguments',
  layer: 'driver',
  judge: ({ domain }) => {
    const found = domain.qemuArguments.filter((argument) => /discard|detect-zeroes/.test(argument));
    if (found.length === 0) return null;
    return {
      verdict: 'unknown',
      evidence: `<qemu:commandline>: ${cleanText(found.join(' '), 160)}`,
      message: 'discard is set past libvirt, so the XML does not decide; a measured trim does',
    };
  },
};
