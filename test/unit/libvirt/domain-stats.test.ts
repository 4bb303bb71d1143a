import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { blockOf, parseDomainStats } from '../../../host/libvirt/domain-stats.ts';
import { mirrorJob, parseJobInfo } from '../../../host/libvirt/jobs.ts';
import type { DiskDescription } from '../../../host/libvirt/domain-xml.ts';

const fixture = (name: string): string => readFileSync(new URL(`../../fixtures/domstats/${name}`, import.meta.url), 'utf8');

describe('parseDomainStats, recorded from libvirt 9.0', () => {
  it('running: physical is what is allocated', () => {
    const stats = parseDomainStats(fixture('running-9.0.0.txt')).get("it's <one>");
    expect(stats).toMatchObject({ state: 'running', stateReason: 'booted' });
    expect(stats?.blocks.map((block) => block.name)).toEqual(['vda', 'vdb', 'vdc', 'sda', 'sdb']);
    expect(blockOf(stats ?? null, 'vda')).toEqual({
      name: 'vda',
      path: '/run/hv/images/5d1f6f0e-0000-4000-8000-000000000001/vda.qcow2',
      allocation: 331_776,
      capacity: 2 ** 30,
      physical: 1_384_448,
    });
    expect(blockOf(stats ?? null, 'sdb')).toEqual({ name: 'sdb', path: null, allocation: null, capacity: null, physical: null });
  });

  it('off: the two are exchanged, as libvirt gives them', () => {
    const stats = parseDomainStats(fixture('off-9.0.0.txt')).get("it's <one>");
    expect(stats).toMatchObject({ state: 'shut off', stateReason: 'destroyed' });
    expect(blockOf(stats ?? null, 'vda')).toMatchObject({ allocation: 1_384_448, physical: 1_441_792 });
  });
});

describe('parseDomainStats', () => {
  const one = (name: string, ...lines: string[]): string => `Domain: '${name}'\n${lines.map((line) => `  ${line}\n`).join('')}\n`;

  it('keeps domains apart, whatever they are called', () => {
    const text =
      one("a' b", 'state.state=1', 'state.reason=2') + one('block.count=9', 'state.state=3', 'state.reason=5') + one("Domain: 'x'");
    const stats = parseDomainStats(text);
    expect([...stats.keys()]).toEqual(["a' b", 'block.count=9', "Domain: 'x'"]);
    expect(stats.get("a' b")).toMatchObject({ state: 'running', stateReason: 'migrated', blocks: [] });
    expect(stats.get('block.count=9')).toMatchObject({ state: 'paused', stateReason: 'I/O error' });
    expect(stats.get("Domain: 'x'")).toMatchObject({ state: 'no state', stateReason: null });
  });

  it('leaves null what libvirt does not know, never 0', () => {
    const text = one(
      'd',
      'block.count=3',
      'block.0.name=vda',
      'block.0.capacity=-1',
      'block.0.physical=',
      'block.2.name=vdc',
      'block.2.allocation=0',
    );
    expect(parseDomainStats(text).get('d')?.blocks).toEqual([
      { name: 'vda', path: null, allocation: null, capacity: null, physical: null },
      { name: 'vdc', path: null, allocation: 0, capacity: null, physical: null },
    ]);
  });

  it('takes a state that a later libvirt invents as no state', () => {
    expect(parseDomainStats(one('d', 'state.state=42')).get('d')?.state).toBe('no state');
  });

  it('reads nothing from nothing', () => {
    expect(parseDomainStats('').size).toBe(0);
    expect(blockOf(null, 'vda')).toBeNull();
  });
});

describe('jobs', () => {
  const info = (type: string, operation?: string): string =>
    `Job type:         ${type}\n${operation === undefined ? '' : `Operation:        ${operation}\n`}Time elapsed:     12 ms\n`;
  it.each([
    ['None', undefined, null],
    ['Completed', 'Backup', null],
    ['Failed', 'Outgoing migration', null],
    ['Unbounded', 'Outgoing migration', 'migration'],
    ['Bounded', 'Incoming migration', 'migration'],
    ['Unbounded', 'Backup', 'backup'],
    ['Bounded', 'Save', 'save'],
    ['Bounded', 'Dump', 'dump'],
    ['Bounded', 'Snapshot', 'snapshot'],
    ['Unbounded', 'Something new', 'other'],
    ['Unbounded', undefined, 'other'],
  ])('%s, %s: %s', (type, operation, kind) => {
    expect(parseJobInfo(info(type, operation))?.kind ?? null).toBe(kind);
  });

  it('a block job shows in the XML', () => {
    const disk = (mirror: string | null): DiskDescription => ({ target: 'vda', mirrorJob: mirror }) as DiskDescription;
    expect(mirrorJob([disk(null), disk('copy')])).toEqual({ kind: 'block-copy', detail: 'copy job on vda' });
    expect(mirrorJob([disk(null)])).toBeNull();
  });
});
