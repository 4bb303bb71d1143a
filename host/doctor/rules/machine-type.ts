import type { Judgement } from '../finding.ts';
import { newerMachineType, parseMachineType, virtioBlkDiscard } from '../machine-type.ts';
import { busOf, domainArgument, type XmlDisk, type XmlRule } from '../subject.ts';

function adviceFor(subject: XmlDisk, chipset: string): Judgement['fix'] {
  const present = parseMachineType(subject.domain.machine ?? 'pc');
  const newer = newerMachineType(present, subject.machineTypes, subject.qemu);
  if (newer === null) {
    const why = subject.machineTypes.length === 0 ? '' : ` (this host has no ${chipset} type of 4.0 or later)`;
    return { command: `move ${subject.disk.target} to bus scsi, controller virtio-scsi${why}`, automatic: false, needsColdStart: true };
  }
  return { command: `virt-trim fix ${domainArgument(subject.domain)} --only machine-type`, automatic: true, needsColdStart: true };
}

/** virtio-blk offers discard from machine type 4.0 on. A chipset change is never advised: it renames the guest's network cards. */
export const machineType: XmlRule = {
  id: 'machine-type',
  layer: 'bus',
  judge: (subject) => {
    if (busOf(subject.disk) !== 'virtio' || subject.disk.type === 'vhostuser') return null;
    const { machine, arch } = subject.domain;
    const type = parseMachineType(machine ?? (arch === null || arch === 'x86_64' || arch === 'i686' ? 'pc' : arch));
    const { offered, because } = virtioBlkDiscard(type, subject.qemu);
    const evidence = `machine '${machine ?? "libvirt's default"}' with bus virtio: ${because}`;
    if (offered === null) {
      return { verdict: 'unknown', evidence, message: "whether virtio-blk offers discard depends on QEMU's version: see 'virsh version'" };
    }
    if (offered) return { verdict: 'ok', evidence, message: 'virtio-blk offers discard to the guest' };
    return {
      verdict: 'blocks',
      evidence,
      message: `the guest is told that ${subject.disk.target} has no discard ("trim not supported"): virtio-blk offers it from machine type 4.0 on`,
      fix: adviceFor(subject, type.chipset),
    };
  },
};
