import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';
import { isTrimmable } from '../../../host/doctor/subject.ts';

const fixture = (name: string): string => readFileSync(new URL(`../../fixtures/domain-xml-basic/${name}`, import.meta.url), 'utf8');
const images = '/run/hv/images/5d1f6f0e-0000-4000-8000-000000000001';

function parse(devices: string, rest = '', attributes = ''): ReturnType<typeof parseDomainXml> {
  return parseDomainXml(
    `<domain type='kvm' ${attributes}><name>d</name><uuid>11111111-2222-3333-4444-555555555555</uuid>${rest}<devices>${devices}</devices></domain>`,
  );
}

describe('recorded from libvirt 9.0', () => {
  it('a running domain', () => {
    const domain = parseDomainXml(fixture('running-9.0.0.xml'));
    expect(domain).toMatchObject({
      name: "it's <one>",
      uuid: '5d1f6f0e-0000-4000-8000-000000000001',
      id: 1,
      type: 'qemu',
      arch: 'x86_64',
      channel: 'connected',
      manager: null,
      emulator: '/usr/bin/qemu-system-x86_64',
      qemuArguments: [],
    });
    expect(domain.machine).toMatch(/^pc-q35-/);
    expect(
      domain.disks.map(({ target, bus, device, type, source, format, discard, detectZeroes }) => [
        target,
        bus,
        device,
        type,
        source,
        format,
        discard,
        detectZeroes,
      ]),
    ).toEqual([
      ['vda', 'virtio', 'disk', 'file', `${images}/vda.qcow2`, 'qcow2', 'unmap', null],
      ['vdb', 'virtio', 'disk', 'file', `${images}/vdb.raw`, 'raw', 'ignore', 'on'],
      ['vdc', 'virtio', 'disk', 'file', `${images}/vdc.qcow2`, 'qcow2', 'unmap', null],
      ['sda', 'scsi', 'disk', 'file', `${images}/sda.qcow2`, 'qcow2', 'unmap', null],
      ['sdb', 'scsi', 'cdrom', 'file', null, null, null, null],
    ]);
    const [vda, , , sda, sdb] = domain.disks;
    expect(vda).toMatchObject({ backing: [], address: { type: 'pci', text: '0000:04:00.0' }, readonly: false, serial: null });
    expect(sda).toMatchObject({
      backing: [{ type: 'file', source: `${images}/sda-base.qcow2`, format: 'qcow2' }],
      address: { type: 'drive', text: '0:0:0:0' },
      serial: 'S-1',
    });
    expect(sdb).toMatchObject({ readonly: true });
    expect(domain.disks.filter(isTrimmable).map((disk) => disk.target)).toEqual(['vda', 'vdb', 'vdc', 'sda']);
  });

  it('the same domain when it is off: no id, no channel state, no chain', () => {
    const domain = parseDomainXml(fixture('off-9.0.0.xml'));
    expect(domain).toMatchObject({ name: "it's <one>", id: null, channel: 'configured' });
    expect(domain.disks.map((disk) => disk.backing)).toEqual([[], [], [], [], []]);
  });
});

describe('disks that are no file', () => {
  it.each([
    ['network', "<source protocol='rbd' name='pool/image'><host name='mon1'/></source>", 'rbd:pool/image'],
    ['network', "<source protocol='nbd'/>", 'nbd:'],
    ['network', '<source/>', '?:'],
    ['block', "<source dev='/dev/vg0/lv'/>", '/dev/vg0/lv'],
    ['volume', "<source pool='default' volume='x.qcow2'/>", 'default/x.qcow2'],
    ['dir', "<source dir='/srv/fat'/>", '/srv/fat'],
    ['vhostuser', "<source type='unix' path='/run/vhost.sock'/>", '/run/vhost.sock'],
    ['vhostvdpa', "<source dev='/dev/vhost-vdpa-0'/>", '/dev/vhost-vdpa-0'],
    ['nvme', "<source type='pci' namespace='1'><address domain='0x0000'/></source>", null],
    ['file', '', null],
    ['file', "<source startupPolicy='optional'/>", null],
  ])('type %s, %s', (type, source, expected) => {
    const [disk] = parse(`<disk type='${type}'>${source}<target dev='vda' bus='virtio'/></disk>`).disks;
    expect(disk).toMatchObject({
      type,
      source: expected,
      device: 'disk',
      protocol: type === 'network' ? (/protocol='(\w+)'/.exec(source)?.[1] ?? null) : null,
    });
  });

  it('a disk with nothing in it at all does not stop the others', () => {
    expect(parse("<disk/><disk type='file'><source file='/a'/><target dev='vdb'/></disk>").disks).toMatchObject([
      { target: '?', type: 'file', source: null, bus: null, format: null, address: null },
      { target: 'vdb', source: '/a' },
    ]);
  });

  it('reads flags, encryption, granularity, jobs and unusual addresses', () => {
    const [disk] = parse(`<disk type='file' device='lun'>
      <driver name='qemu' type='qcow2' discard='unmap' detect_zeroes='unmap' discard_no_unref='on'/>
      <source file='/a'><encryption format='luks'/></source>
      <mirror type='file' job='copy' ready='yes'><source file='/b'/></mirror>
      <blockio discard_granularity='32768'/><shareable/><transient/><readonly/>
      <target dev='sda' bus='scsi'/><address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0000'/></disk>`).disks;
    expect(disk).toMatchObject({
      device: 'lun',
      discardNoUnref: 'on',
      detectZeroes: 'unmap',
      encryption: 'luks',
      mirrorJob: 'copy',
      discardGranularity: 32_768,
      shareable: true,
      transient: true,
      readonly: true,
      address: { type: 'ccw', text: '' },
    });
  });

  it('a PCI function in hexadecimal, as lspci writes it', () => {
    const [disk] = parse(
      "<disk type='file'><target dev='vda'/><address type='pci' domain='0x0001' bus='0xff' slot='0x1f' function='0x7'/></disk>",
    ).disks;
    expect(disk?.address).toEqual({ type: 'pci', text: '0001:ff:1f.7' });
  });
});

describe('the agent channel', () => {
  const channel = (state: string, name = 'org.qemu.guest_agent.0'): string =>
    `<channel type='unix'><target type='virtio' name='${name}' ${state}/></channel>`;
  it.each([
    ['absent', '', 'id="3"'],
    ['absent', channel("state='connected'", 'com.redhat.spice.0'), 'id="3"'],
    ['connected', channel("state='connected'"), 'id="3"'],
    ['disconnected', channel("state='disconnected'"), 'id="3"'],
    ['disconnected', channel(''), 'id="3"'],
    ['connected', channel("state='connected'", 'org.other') + channel("state='connected'"), 'id="3"'],
    ['configured', channel("state='connected'"), ''],
  ])('%s: %s', (expected, xml, attributes) => {
    expect(parse(xml, '', attributes).channel).toBe(expected);
  });
});

describe('who owns the XML', () => {
  it.each([
    ['OpenStack Nova', "<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'/></metadata>"],
    ['oVirt', "<metadata><ovirt-vm:vm xmlns:ovirt-vm='http://ovirt.org/vm/1.0'/></metadata>"],
    ['KubeVirt', "<metadata><kubevirt xmlns='http://kubevirt.io'/></metadata>"],
    ['CloudStack', "<sysinfo type='smbios'><system><entry name='product'>CloudStack KVM Hypervisor</entry></system></sysinfo>"],
    [null, "<metadata><x:x xmlns:x='http://example.org'/></metadata>"],
    [null, ''],
  ])('%s', (manager, xml) => {
    expect(parse('', xml).manager).toBe(manager);
  });

  it('reads our own metadata and nobody else’s, without namespace declarations', () => {
    const xml = `<metadata><vt:policy xmlns:vt='https://virt-trim.org/xmlns/domain/1' trim='no' tags='a b'/>
      <other:policy xmlns:other='http://example.org' trim='yes'/></metadata>`;
    expect(parse('', xml).metadata).toEqual({ policy: { trim: 'no', tags: 'a b' } });
  });

  it('reads arguments that somebody passes past libvirt, only from the right namespace', () => {
    const text = (namespace: string): string =>
      `<domain type='kvm' xmlns:qemu='${namespace}'><name>d</name><uuid>u</uuid><devices/><qemu:commandline><qemu:arg value='-set'/><qemu:env name='x'/></qemu:commandline></domain>`;
    expect(parseDomainXml(text('http://libvirt.org/schemas/domain/qemu/1.0')).qemuArguments).toEqual(['-set']);
    expect(parseDomainXml(text('http://example.org')).qemuArguments).toEqual([]);
  });
});

describe('XML that must not be accepted', () => {
  it.each([
    ['cut off', '<domain><name>d'],
    ['empty', ''],
    ['no XML', 'error: nothing here'],
    ['an entity bomb', '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><domain><name>&b;</name></domain>'],
    ['an external entity', '<!DOCTYPE d SYSTEM "file:///etc/passwd"><domain><name>x</name></domain>'],
    ['two roots', '<domain/><domain/>'],
  ])('%s', (_what, text) => {
    expect(() => parseDomainXml(text)).toThrow(expect.objectContaining({ code: 'tool-failed' }) as Error);
  });
});
