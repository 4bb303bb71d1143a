import { describe, expect, test } from 'vitest';
import { fullAt, growthPerDay } from '../../../host/sizes/forecast.ts';
import { sumStorage, type PlacedImage } from '../../../host/sizes/storage.ts';
import { storageRow } from '../../../host/sizes/rows.ts';
import { parseThinPools } from '../../../host/sizes/thin-pools.ts';
import type { HistoryEntry } from '../../../host/state/history.ts';

const gib = 1024 ** 3;
const now = new Date('2026-11-22T00:00:00Z');
const filesystem = { kind: 'filesystem', name: '/srv', type: 'xfs', totalBytes: 100 * gib, freeBytes: 30 * gib } as const;
const image = (guest: string, allocation: number, commitment: number | null, identity = guest): PlacedImage => ({
  identity,
  guest,
  guestUuid: guest,
  allocationBytes: allocation * gib,
  commitmentBytes: commitment === null ? null : commitment * gib,
});

function entry(uuid: string, at: string, before: number, after: number): HistoryEntry {
  const common = { v: 1, uri: '', name: uuid, status: 'ok', code: null, wallMs: 1 } as const;
  return { ...common, uuid, at, beforeBytes: before * gib, afterBytes: after * gib, reclaimedBytes: (before - after) * gib };
}

describe('a storage', () => {
  test('that holds all commitments is not overcommitted', () => {
    expect(sumStorage(filesystem, [image('a', 10, 20), image('b', 10, 25)], new Map(), now)).toMatchObject({ overcommittedBytes: 0 });
  });

  test('names who could fill it, and who alone', () => {
    const sum = sumStorage(filesystem, [image('a', 10, 45), image('b', 10, 25), image('c', 5, 5)], new Map(), now);
    expect(sum.overcommittedBytes).toBe(20 * gib);
    expect(sum.guests).toEqual([
      { name: 'a', growthBytes: 35 * gib, fillsAlone: true },
      { name: 'b', growthBytes: 15 * gib, fillsAlone: false },
    ]);
  });

  test('counts a base image once, however many overlays stand on it', () => {
    const base = (guest: string) => image(guest, 4, 4, 'base');
    const sum = sumStorage(filesystem, [image('a', 1, 10), base('a'), image('b', 1, 10), base('b')], new Map(), now);
    expect(sum).toMatchObject({ images: 3, allocationBytes: 6 * gib, commitmentBytes: 24 * gib });
  });

  test('takes the larger commitment where one guest writes what another reads', () => {
    const sum = sumStorage(filesystem, [image('reader', 4, 4, 'base'), image('writer', 4, 40, 'base')], new Map(), now);
    expect(sum).toMatchObject({ images: 1, commitmentBytes: 40 * gib });
  });

  test('an image without a bound makes the sum a lower one', () => {
    const sum = sumStorage(filesystem, [image('a', 10, null), image('b', 10, 45)], new Map(), now);
    expect(sum.unbounded).toEqual(['a']);
    expect(storageRow(sum)).toContain('by ≥ 5 GiB');
  });

  test('free space that cannot be read is unknown, not zero', () => {
    expect(sumStorage({ ...filesystem, freeBytes: null }, [image('a', 1, 9)], new Map(), now).overcommittedBytes).toBe(null);
  });
});

describe('the forecast', () => {
  const history = [
    entry('a', '2026-11-01T00:00:00Z', 10, 6),
    entry('a', '2026-11-03T00:00:00Z', 10, 7),
    entry('a', '2026-11-05T00:00:00Z', 9, 7),
  ];

  test('counts from what one trim left to what the next one found', () => {
    expect(growthPerDay(history).get('a')).toBe(1.5 * gib);
  });

  test('needs an hour at least', () => {
    expect(growthPerDay([entry('a', '2026-11-01T00:00:00Z', 9, 5), entry('a', '2026-11-01T00:10:00Z', 9, 5)]).size).toBe(0);
  });

  test('gives the day on which the space is gone', () => {
    expect(sumStorage(filesystem, [image('a', 10, 20)], growthPerDay(history), now)).toMatchObject({ fullAt: '2026-12-12T00:00:00.000Z' });
    expect(fullAt(gib, 0, now)).toBe(null);
  });
});

describe('a thin pool', () => {
  const lv = (name: string, segtype: string, pool: string, size: number, percent: string) => ({
    vg_name: 'vg-0',
    lv_name: name,
    lv_path: segtype === 'thin-pool' ? '' : `/dev/vg-0/${name}`,
    pool_lv: pool,
    lv_size: String(size * gib),
    data_percent: percent,
    segtype,
  });
  // As lvs(8) of LVM 2.03 prints it, after its manual page; not recorded.
  const report = [
    lv('pool', 'thin-pool', '', 100, '40.00'),
    lv('web', 'thin', 'pool', 80, '25.00'),
    lv('other', 'thin', 'pool', 60, '33.33'),
    lv('root', 'linear', '', 20, ''),
  ];
  const text = JSON.stringify({ report: [{ lv: report }] });

  test('counts every volume in it, and names the guest by either path of its device', () => {
    const [pool] = parseThinPools(text, new Map([['/dev/mapper/vg--0-web', { name: 'web1', uuid: 'u1' }]]));
    if (pool === undefined) throw new Error('no pool');
    const sum = sumStorage(pool.storage, pool.images, new Map(), now);
    expect(sum).toMatchObject({ kind: 'thin-pool', name: 'vg-0/pool', images: 2, freeBytes: 60 * gib, commitmentBytes: 140 * gib });
    expect(sum.overcommittedBytes).toBeGreaterThan(39 * gib);
    expect(sum.guests.map((guest) => guest.name)).toEqual(['web1', '/dev/vg-0/other (no guest here)']);
  });

  test('what is not a report is no pool', () => {
    for (const odd of ['', '{}', '{"report":[{"lv":[{}]}]}', 'x'.repeat(1000)]) expect(parseThinPools(odd, new Map())).toEqual([]);
  });
});
