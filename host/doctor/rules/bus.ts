import type { Judgement } from '../finding.ts';
import { busOf, isScsiPassthrough, type XmlRule } from '../subject.ts';

/** Emulated controllers whose disks take SCSI UNMAP, ATA TRIM or NVMe deallocate at every machine type (hw/scsi, hw/ide/core.c, hw/nvme). */
const passing: Readonly<Record<string, string>> = {
  scsi: 'the emulated SCSI disk takes UNMAP at any machine type',
  sata: 'the emulated SATA disk takes TRIM at any machine type',
  ide: 'the emulated IDE disk takes TRIM at any machine type',
  nvme: 'the emulated NVMe drive takes deallocate at any machine type',
};

const dropping: Readonly<Record<string, string>> = {
  usb: 'Linux does not ask a bulk-only USB disk for UNMAP (it never reads the long capacity that would announce it)',
  sd: 'the emulated SD card writes where it should erase',
  fdc: 'floppies know no discard',
};

export const bus: XmlRule = {
  id: 'bus',
  layer: 'bus',
  judge: ({ domain, disk }): Judgement | null => {
    const name = busOf(disk);
    const evidence = `<target dev='${disk.target}' bus='${name}'/>`;
    if (name === 'virtio' || isScsiPassthrough(disk) || disk.type === 'vhostuser') return null; // rules of their own
    const takes = passing[name];
    if (takes !== undefined) return { verdict: 'ok', evidence, message: takes };
    const drops = dropping[name];
    if (drops === undefined) return { verdict: 'unknown', evidence, message: `nothing is known about discards on the bus '${name}'` };
    const controller = domain.arch === 's390x' ? 'virtio' : 'virtio or scsi (controller virtio-scsi)';
    return {
      verdict: 'blocks',
      evidence,
      message: `${drops}: a trim cannot reach the image`,
      fix: { command: `move ${disk.target} to bus ${controller}`, automatic: false, needsColdStart: true },
    };
  },
};
