import { describe, expect, it } from 'vitest';
import type { DiskDescription } from '../../../host/libvirt/domain-xml.ts';
import { backendOf, mountOf, parseMountinfo } from '../../../host/trim/backend.ts';

const mounts = parseMountinfo(`22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:35 / /srv/images rw shared:5 - nfs4 nas:/export/vm rw,vers=4.2
41 22 254:2 / /srv/images/with\\040space rw - xfs /dev/vdb rw
42 22 254:3 / /srv/img rw - xfs /dev/vdc rw
43 22 254:4 / /srv/img rw - ext4 /dev/vdd rw
broken line
`);

describe('mountOf', () => {
  it.each([
    ['/var/lib/x.qcow2', '/'],
    ['/srv/images/x.qcow2', '/srv/images'],
    ['/srv/images2/x.qcow2', '/'],
    ['/srv/images/with space/x', '/srv/images/with space'],
    ['/srv/images', '/srv/images'],
  ])('%s is on %s', (file, mountpoint) => {
    expect(mountOf(mounts, file)?.mountpoint).toBe(mountpoint);
  });

  it('the latest of two on the same place', () => {
    expect(mountOf(mounts, '/srv/img/a')?.source).toBe('/dev/vdd');
  });
});

describe('backendOf', () => {
  const disk = (type: string, source: string | null, protocol: string | null = null): DiskDescription =>
    ({ type, source, protocol, target: 'vda' }) as DiskDescription;
  const remote = { isLocal: false, host: 'hv2' };

  it.each([
    [disk('network', 'rbd:pool/image', 'rbd'), 'rbd:pool'],
    [disk('volume', 'default/x.qcow2'), 'hv2:pool:default'],
    [disk('block', '/dev/vg0/lv1'), 'hv2:vg:vg0'],
    [disk('block', '/dev/mapper/vg0-lv1'), 'hv2:vg:vg0'],
    [disk('block', '/dev/sdx'), 'hv2:/dev/sdx'],
    [disk('file', '/srv/images/a.qcow2'), 'hv2:/srv/images'],
    [disk('file', null), 'none'],
  ])('%#: %s', async (of, name) => {
    expect(await backendOf(of, remote)).toBe(name);
  });

  it('files of this machine on one filesystem are one backend, however their paths are written', async () => {
    const here = { isLocal: true, host: 'hv1' };
    const [a, b] = await Promise.all([backendOf(disk('file', '/etc/passwd'), here), backendOf(disk('file', '/etc/../etc/group'), here)]);
    expect(a).toMatch(/^hv1:dev:\d+$/);
    expect(b).toBe(a);
  });
});
