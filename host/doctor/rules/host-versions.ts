import type { HostRule } from '../facts.ts';
import { formatVersion, isAtLeast } from '../version.ts';

export const hostVersions: HostRule = {
  id: 'host-versions',
  layer: 'host',
  judge: ({ libvirt, qemu, daemon }) => {
    const evidence = `libvirt ${libvirt === null ? 'unknown' : formatVersion(libvirt)} (${daemon} daemon), QEMU ${qemu === null ? 'unknown' : formatVersion(qemu)}`;
    if (libvirt === null || qemu === null)
      return { verdict: 'unknown', evidence, message: "the versions are not to be had: 'virsh version --daemon'" };
    if (!isAtLeast(qemu, 4)) {
      return {
        verdict: 'warning',
        evidence,
        message: 'virtio-blk has no discard before QEMU 4.0: virtio-scsi disks only can be trimmed on this host',
      };
    }
    const unref = isAtLeast(libvirt, 9, 5) && isAtLeast(qemu, 8, 1);
    return {
      verdict: 'ok',
      evidence,
      message: unref ? 'discard_no_unref is available' : 'discard_no_unref is not available (libvirt 9.5, QEMU 8.1)',
    };
  },
};
