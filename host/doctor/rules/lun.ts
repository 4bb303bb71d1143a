import { isScsiPassthrough, type XmlRule } from '../subject.ts';

export const lun: XmlRule = {
  id: 'lun',
  layer: 'bus',
  judge: ({ disk }) =>
    isScsiPassthrough(disk)
      ? {
          verdict: 'unknown',
          evidence: "<disk device='lun'> on bus scsi",
          message: `the guest talks SCSI to the device itself: whether it takes UNMAP is the device's affair ('sg_vpd -p lbpv ${disk.source ?? 'DEVICE'}')`,
        }
      : null,
};
