import { expect, it } from 'vitest';
import { formatPhase, formatRecord, parsePhase, parseRecord, parseResult, type LeaseRecord } from '../../../host/quiesce/lease-record.ts';

const record: LeaseRecord = {
  id: '0123456789abcdef',
  uuid: '6c26c6eb-44bf-4c91-a4f6-835e70ac3e4b',
  name: 'db=1 $(reboot)',
  uri: 'qemu+unix:///system?socket=/x/libvirt-sock',
  virsh: 'virsh',
  domainId: 7,
  bootId: 'd82de8fa-7d03-4e41-a543-e3eca3c024b5',
  peers: ['qemu+ssh://a/system', 'qemu+ssh://b/system'],
  thawSeconds: 5,
  leaseSeconds: 60,
  user: 'root',
  host: 'hv1',
  caller: 'freeze',
  createdAt: '2026-11-22T09:00:00.000Z',
};

it('reads what it wrote', () => {
  expect(parseRecord(formatRecord(record))).toEqual(record);
  expect(parseRecord(formatRecord({ ...record, domainId: null, peers: [] }))).toEqual({ ...record, domainId: null, peers: [] });
});

it('puts the id first, where the guard looks for it', () => {
  expect(formatRecord(record).split('\n')[0]).toBe('id=0123456789abcdef');
});

it('keeps a name with a line break in one line', () => {
  expect(parseRecord(formatRecord({ ...record, name: 'a\nid=ffffffffffffffff' }))).toMatchObject({
    id: record.id,
    name: 'a id=ffffffffffffffff',
  });
});

it('takes half a record for none', () => {
  const text = formatRecord(record);
  expect(parseRecord(text.slice(0, text.length / 2))).toBeNull();
  expect(parseRecord('')).toBeNull();
  expect(parseRecord(text.replace('0123456789abcdef', '../../etc'))).toBeNull();
});

it('reads and writes phases', () => {
  for (const is of ['armed', 'freezing', 'unknown', 'refused', 'thawed'] as const) expect(parsePhase(formatPhase({ is }))).toEqual({ is });
  const frozen = { is: 'frozen', count: 2, sinceCentis: 12345 } as const;
  expect(parsePhase(formatPhase(frozen))).toEqual(frozen);
  expect(parsePhase('thaw')).toBeNull();
});

it('reads a result only when its line is whole', () => {
  expect(parseResult('thawed 1 281732\n')).toEqual({ is: 'thawed', count: 1, atCentis: 281732 });
  expect(parseResult('ended - 5\n')).toEqual({ is: 'ended', count: null, atCentis: 5 });
  expect(parseResult('thawed 1 2817')).toBeNull();
});
