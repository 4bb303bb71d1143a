import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { DiskDescription } from '../../../host/libvirt/domain-xml.ts';
import type { Domain } from '../../../host/libvirt/domains.ts';
import { parsePoolXml } from '../../../host/libvirt/pools.ts';
import { parseUri } from '../../../host/libvirt/uri.ts';
import { backendOf, backendsOf, blockName, hostOfUri } from '../../../host/trim/backend.ts';

const disk = (type: string, source: string, protocol: string | null = null): DiskDescription =>
  ({ type, source, protocol, target: 'vda', device: 'disk' }) as DiskDescription;

describe('one name for one storage', () => {
  it.each([
    ['/dev/vg0/lv1', 'vg:vg0'],
    ['/dev/mapper/vg0-lv1', 'vg:vg0'],
    ['/dev/mapper/my--vg-my--lv', 'vg:my-vg'],
    ['/dev/zvol/tank/vm/disk1', 'zpool:tank'],
    ['/dev/sdx', '/dev/sdx'],
    ['/dev/disk/by-id/wwn-0x5000c500a1b2c3d4', '/dev/disk/by-id/wwn-0x5000c500a1b2c3d4'],
  ])('%s is %s', (device, name) => expect(blockName(device)).toBe(name));

  it.each([
    [disk('network', 'iscsi:iqn.2013-07.com.example:pool/1', 'iscsi'), 'iscsi:iqn.2013-07.com.example:pool'],
    [disk('network', 'gluster:vol1/a.qcow2', 'gluster'), 'gluster:vol1'],
  ])('%#: network disks by pool, target or volume', async (of, name) => {
    expect(await backendOf(of, { isLocal: true, host: 'h' })).toBe(name);
  });

  const pools = [
    parsePoolXml(`<pool type='netfs'><name>shared</name><source><host name='nas'/><dir path='/export/vm'/><format type='nfs'/></source>
      <target><path>/srv/shared</path></target></pool>`),
    parsePoolXml(`<pool type='rbd'><name>ceph</name><source><host name='mon1'/><name>vms</name></source></pool>`),
    parsePoolXml(`<pool type='dir'><name>default</name><target><path>/var/lib/libvirt/images</path></target></pool>`),
  ];

  it.each([
    [disk('file', '/srv/shared/web/a.qcow2'), 'nfs:nas:/export/vm'],
    [disk('volume', 'shared/a.qcow2'), 'nfs:nas:/export/vm'],
    [disk('volume', 'ceph/a'), 'rbd:vms'],
    [disk('file', '/var/lib/libvirt/images/a.qcow2'), 'PLACE:pool:default'],
    [disk('file', '/srv/shared2/a.qcow2'), 'PLACE:/srv/shared2'],
  ])('%#: two remote hosts agree on what they share, by their storage pools', async (of, name) => {
    for (const host of ['hv1', 'hv2']) expect(await backendOf(of, { isLocal: false, host, pools })).toBe(name.replace('PLACE', host));
  });

  it.each([
    ['qemu+ssh://root@hv1:2222/system', 'hv1'],
    ['qemu+tls://hv1/system', 'hv1'],
    ['qemu:///system', hostname()],
    ['qemu+unix:///system?socket=/run/x', hostname()],
  ])('%s is the host %s', (uri, host) => expect(hostOfUri(parseUri(uri))).toBe(host));

  it('each once for a domain, and the administrator has the last word', async () => {
    const domain = { disks: [disk('block', '/dev/vg0/a'), disk('block', '/dev/vg0/b'), disk('file', '/x/c')] } as unknown as Domain;
    const place = { isLocal: false, host: 'h' };
    expect(await backendsOf(domain, place)).toEqual(['h:vg:vg0', 'h:/x']);
    expect(await backendsOf(domain, place, 'san1')).toEqual(['san1']);
  });
});
