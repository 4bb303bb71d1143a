import { describe, expect, test } from 'vitest';
import { canonicalLines, isSameXml } from '../../../host/doctor/fix/canonical.ts';
import { changedLines, diffXml } from '../../../host/doctor/fix/diff.ts';
import { editXml, setDriver, setGranularity, setMachine } from '../../../host/doctor/fix/edit-xml.ts';
import { planFix, type PlanFacts, type PlanOptions } from '../../../host/doctor/fix/plan.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';
import { domainXml } from './case.ts';

describe('canonical XML', () => {
  test('knows neither indentation nor the order of attributes nor the kind of quotes', () => {
    expect(isSameXml(`<a y='1' x="2"><b>  t </b>\n</a>`, '<a x="2" y="1">\n   <b>t</b><!-- c --></a>')).toBe(true);
  });

  test('knows no order among controllers, which libvirt moves about, and keeps that of all other devices', () => {
    const controllers = [
      "<controller type='pci' index='2'/>",
      "<controller type='virtio-serial' index='0'/>",
      "<controller type='pci' index='10'/>",
    ];
    const devices = (list: string[]) => `<devices><disk/>${list.join('')}<serial/></devices>`;
    expect(isSameXml(devices(controllers), devices(controllers.toReversed()))).toBe(true);
    expect(isSameXml(devices(controllers), devices(controllers.slice(1)))).toBe(false);
    expect(isSameXml('<devices><serial/><disk/></devices>', '<devices><disk/><serial/></devices>')).toBe(false);
  });

  test.each([
    ['<a><b/><c/></a>', '<a><c/><b/></a>'],
    ['<a x="1"/>', '<a/>'],
    ['<a>t</a>', '<a>u</a>'],
    ['<a><b>t</b></a>', '<a><b/></a>'],
    ['<a x="&lt;"/>', '<a x="&gt;"/>'],
  ])('%s is not %s', (a, b) => {
    expect(isSameXml(a, b)).toBe(false);
  });
});

describe('the edits', () => {
  const before = `<domain xmlns:q='u'><os><type machine='pc-q35-3.1'>hvm</type></os><devices>
    <graphics type='vnc' passwd='hush &amp; &quot;hush&quot;'/>
    <disk><driver name='qemu' type='qcow2'/><target dev='vda'/></disk><disk><target dev='vdb'/></disk></devices><q:extra q:a='1'/></domain>`;

  test('change what they name and nothing else', () => {
    const after = editXml(before, [setDriver('vda', 'discard', 'unmap'), setMachine('pc-q35-7.2')]);
    expect(changedLines(before, after)).toEqual([
      '-     <type machine="pc-q35-3.1">hvm</type>',
      '+     <type machine="pc-q35-7.2">hvm</type>',
      '-       <driver name="qemu" type="qcow2"/>',
      '+       <driver discard="unmap" name="qemu" type="qcow2"/>',
    ]);
  });

  test('make the element that is missing', () => {
    const after = editXml(before, [setDriver('vdb', 'discard', 'unmap'), setGranularity('vdb', 65_536)]);
    expect(canonicalLines(after).map((line) => line.trim())).toEqual(
      expect.arrayContaining(['<driver discard="unmap" name="qemu"/>', '<blockio discard_granularity="65536"/>']),
    );
  });

  test('keep passwords, and the diff does not show them', () => {
    const after = editXml(before, [setMachine('x')]);
    expect(canonicalLines(after).join('')).toContain('passwd="hush &amp; &quot;hush&quot;"');
    const around = diffXml(before.replace("type='vnc'", "type='spice'"), before);
    expect(around.join('\n')).toContain('passwd="***"');
    expect(around.join('\n')).not.toContain('hush');
  });
});

function plan(xml: string, options: Partial<PlanOptions> = {}, facts: Partial<PlanFacts> = {}) {
  return planFix(
    {
      configured: parseDomainXml(xml),
      libvirt: { major: 9, minor: 0, patch: 0 },
      qemu: { major: 7, minor: 2, patch: 0 },
      machineTypes: ['pc-q35-7.2', 'pc-q35-4.2', 'pc-i440fx-7.2'],
      complaints: new Map(),
      ...facts,
    },
    { only: [], machine: null, ...options },
  );
}

describe('the plan', () => {
  const bare = domainXml({ driver: "type='qcow2'" });
  const old = domainXml({ machine: 'pc-q35-3.1' });

  test('a disk without discard gets it', () => {
    expect(plan(bare).changes.map((change) => change.what)).toEqual(["vda: <driver discard='unmap'>"]);
  });

  test('nothing to do is nothing', () => {
    expect(plan(domainXml())).toEqual({ changes: [], leftAlone: [] });
  });

  test('a preallocated image is warned about', () => {
    const complaints = new Map([['vda', new Set(['preallocation'])]]);
    expect(plan(bare, {}, { complaints }).changes[0]?.warnings[0]).toContain('the first trim undoes it');
  });

  test('a machine type has to be named, stays in its chipset and comes with warnings', () => {
    expect(plan(old).leftAlone[0]?.why).toContain('--only machine-type');
    const [change] = plan(old, { only: ['machine-type'] }).changes;
    expect(change?.what).toBe('machine type pc-q35-3.1 → pc-q35-7.2');
    expect(change?.warnings.join(' ')).toMatch(/CPU.*migrated.*activated/);
    expect(plan(old, { only: ['machine-type'], machine: 'pc-q35-4.2' }).changes[0]?.what).toContain('→ pc-q35-4.2');
  });

  test.each([
    ['pc-i440fx-7.2', /another chipset/],
    ['pc-q35-9.0', /has no machine type pc-q35-9.0/],
    ['pc-q35-3.0', /has no machine type/],
  ])('to %s: refused', (machine, why) => {
    const { changes, leftAlone } = plan(old, { only: ['machine-type'], machine });
    expect(changes).toEqual([]);
    expect(leftAlone[0]?.why).toMatch(why);
  });

  test('where the chipset has no newer type, virtio-scsi is named and nothing is done', () => {
    const { changes, leftAlone } = plan(old, { only: ['machine-type'] }, { machineTypes: ['pc-q35-3.1', 'pc-i440fx-7.2'] });
    expect(changes).toEqual([]);
    expect(leftAlone[0]?.why).toContain('virtio-scsi');
  });

  test.each([
    ['encrypted', "<encryption format='luks'/>", /holes would show/],
    ['shared', '<shareable/>', /seen by all/],
  ])('an %s disk is left alone', (_what, inner, why) => {
    const { changes, leftAlone } = plan(domainXml({ driver: "type='qcow2'", inner }));
    expect(changes).toEqual([]);
    expect(leftAlone[0]?.why).toMatch(why);
  });

  test('a read-only disk is not even mentioned', () => {
    expect(plan(domainXml({ driver: "type='qcow2'", inner: '<readonly/>' }))).toEqual({ changes: [], leftAlone: [] });
  });

  test('discard_no_unref where libvirt and QEMU know it', () => {
    expect(plan(domainXml(), { only: ['discard-no-unref'] }).leftAlone[0]?.why).toContain('libvirt 9.5 and QEMU 8.1');
    const newer = { libvirt: { major: 11, minor: 3, patch: 0 }, qemu: { major: 10, minor: 0, patch: 2 } };
    expect(plan(domainXml(), { only: ['discard-no-unref'] }, newer).changes[0]?.what).toBe("vda: <driver discard_no_unref='on'>");
  });
});
