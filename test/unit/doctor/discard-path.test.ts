import { describe, expect, test } from 'vitest';
import { explainDiscardPath } from '../../../host/doctor/discard-path.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';

interface Shape {
  machine?: string;
  arch?: string;
  bus?: string;
  driver?: string;
  disk?: string;
  type?: string;
  source?: string;
  inner?: string;
  extra?: string;
}

function explain(shape: Shape) {
  const domain = parseDomainXml(`<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <name>web1</name><uuid>11111111-2222-3333-4444-555555555555</uuid>
    <os><type arch='${shape.arch ?? 'x86_64'}' machine='${shape.machine ?? 'pc-q35-7.2'}'>hvm</type></os>
    <devices><disk type='${shape.type ?? 'file'}' device='${shape.disk ?? 'disk'}'>
      <driver name='qemu' ${shape.driver ?? "type='qcow2' discard='unmap'"}/>
      ${shape.source ?? "<source file='/images/web1.qcow2'/>"}
      <target dev='vda' bus='${shape.bus ?? 'virtio'}'/>${shape.inner ?? ''}
    </disk></devices>${shape.extra ?? ''}</domain>`);
  const [disk] = domain.disks;
  if (disk === undefined) throw new Error('no disk');
  return explainDiscardPath(domain, disk, { qemu: { major: 7, minor: 2, patch: 0 }, machineTypes: ['pc-i440fx-7.2', 'pc-q35-7.2'] });
}

describe('a path from XML alone', () => {
  test('is ok when every layer passes discards', () => {
    expect(explain({})).toMatchObject({ verdict: 'ok', applies: true, fixCommand: null });
  });

  test.each<[string, Shape, string, string]>([
    ['no discard attribute', { driver: "type='qcow2'" }, 'blocks', 'driver-discard'],
    ['discard=ignore', { driver: "type='qcow2' discard='ignore'" }, 'blocks', 'driver-discard'],
    ['virtio-blk on a 3.1 type', { machine: 'pc-i440fx-3.1' }, 'blocks', 'machine-type'],
    ['virtio-scsi on a 3.1 type', { machine: 'pc-i440fx-3.1', bus: 'scsi' }, 'ok', 'discard-path'],
    ['usb', { bus: 'usb' }, 'blocks', 'bus'],
    ['vmdk', { driver: "type='vmdk' discard='unmap'" }, 'blocks', 'image-format'],
    ['LUKS over raw', { driver: "type='raw' discard='unmap'", inner: "<encryption format='luks'/>" }, 'blocks', 'image-format'],
    ['LUKS inside qcow2', { inner: "<encryption format='luks'/>" }, 'ok', 'discard-path'],
    ['ssh', { type: 'network', source: "<source protocol='ssh' name='a'/>" }, 'blocks', 'network-protocol'],
    ['nbd', { type: 'network', source: "<source protocol='nbd' name='a'/>" }, 'unknown', 'network-protocol'],
    ['rbd', { type: 'network', source: "<source protocol='rbd' name='a'/>", driver: "type='raw' discard='unmap'" }, 'ok', 'discard-path'],
    ['a LUN', { disk: 'lun', bus: 'scsi', type: 'block', source: "<source dev='/dev/sdx'/>", driver: "type='raw'" }, 'unknown', 'lun'],
    ['vhost-user', { type: 'vhostuser', source: "<source type='unix' path='/s'/>", driver: "type='raw'" }, 'unknown', 'vhost-user'],
    ['shareable', { inner: '<shareable/>', driver: "type='raw' discard='unmap'" }, 'warning', 'shareable'],
    ['transient', { inner: '<transient/>' }, 'warning', 'transient'],
    [
      'a backing image',
      { inner: "<backingStore type='file'><format type='qcow2'/><source file='/base'/><backingStore/></backingStore>" },
      'warning',
      'backing-chain',
    ],
    ['detect_zeroes=unmap with discard', { driver: "type='qcow2' discard='unmap' detect_zeroes='unmap'" }, 'ok', 'discard-path'],
    [
      'discard set past libvirt',
      { extra: "<qemu:commandline><qemu:arg value='-set'/><qemu:arg value='device.virtio-disk0.discard=off'/></qemu:commandline>" },
      'unknown',
      'qemu-arguments',
    ],
  ])('%s', (_what, shape, verdict, rule) => {
    expect(explain(shape)).toMatchObject({ verdict, rule });
  });

  test.each<[string, Shape]>([
    ['a CD', { disk: 'cdrom', bus: 'sata' }],
    ['a read-only disk', { inner: '<readonly/>' }],
    ['an empty drive', { source: '' }],
  ])('%s has nothing to trim, which is no fault', (_what, shape) => {
    expect(explain({ ...shape, driver: "type='raw'" })).toMatchObject({ verdict: 'ok', applies: false, findings: [] });
  });

  test('the fix stays within the chipset, and is virtio-scsi where the host has no newer type of it', () => {
    expect(explain({ machine: 'pc-i440fx-3.1' }).fixCommand).toBe('virt-trim fix web1 --only machine-type');
    expect(explain({ machine: 'virt-3.1', arch: 'aarch64' }).fixCommand).toContain('virtio-scsi');
  });
});
