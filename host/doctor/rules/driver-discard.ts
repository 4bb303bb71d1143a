import { domainArgument, isScsiPassthrough, type XmlRule } from '../subject.ts';

/** Without `discard='unmap'` QEMU takes the guest's discards, reports success and drops them. */
export const driverDiscard: XmlRule = {
  id: 'driver-discard',
  layer: 'driver',
  judge: ({ domain, disk }) => {
    if (isScsiPassthrough(disk) || disk.type === 'vhostuser') return null;
    const evidence = disk.discard === null ? '<driver> without discard=' : `<driver discard='${disk.discard}'/>`;
    if (disk.discard === 'unmap') return { verdict: 'ok', evidence, message: 'QEMU passes discards on to the image' };
    return {
      verdict: 'blocks',
      evidence,
      message: `QEMU drops the discards of ${disk.target}: the guest reports success and the host gets nothing`,
      fix: { command: `virt-trim fix ${domainArgument(domain)} --only driver-discard`, automatic: true, needsColdStart: true },
    };
  },
};
