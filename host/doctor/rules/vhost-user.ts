import type { XmlRule } from '../subject.ts';

export const vhostUser: XmlRule = {
  id: 'vhost-user',
  layer: 'driver',
  judge: ({ disk }) =>
    disk.type === 'vhostuser' || disk.type === 'vhostvdpa'
      ? {
          verdict: 'unknown',
          evidence: `<disk type='${disk.type}'>`,
          message: 'another process serves this disk, past QEMU: only it knows what becomes of a discard (ask SPDK or qemu-storage-daemon)',
        }
      : null,
};
