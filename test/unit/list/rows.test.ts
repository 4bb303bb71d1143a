import { describe, expect, it } from 'vitest';
import { listResult } from '../../../host/list/result.ts';
import { listColumns, listRow } from '../../../host/list/rows.ts';
import { listedResult, type ListedResult, type ReadableResult } from '../../../host/list/schema.ts';
import { AppError } from '../../../shared/errors.ts';

const now = Date.parse('2026-11-22T12:00:00.000Z');
const thawed = { state: 'thawed', by: null, leaseId: null, deadline: null, since: null } as const;

function result(changes: Partial<ReadableResult> = {}): ListedResult {
  return listedResult.parse({
    name: 'web',
    uuid: 'u',
    status: 'ok',
    code: null,
    reason: null,
    id: 3,
    state: 'running',
    stateReason: 'booted',
    agent: { channel: 'connected', answering: null, kind: null, version: null, checkedAt: null },
    os: null,
    disks: [],
    lastTrim: null,
    frozen: thawed,
    ...changes,
  });
}

const disk = (allocationBytes: number | null): ReadableResult['disks'][number] => ({
  target: 'vda',
  source: '/i',
  format: 'qcow2',
  capacityBytes: 2 ** 30,
  lengthBytes: null,
  allocationBytes,
  commitmentBytes: null,
  reclaimableBytes: null,
});

/** The cells by their column's head. */
const cells = (of: ListedResult): Record<string, string | undefined> =>
  Object.fromEntries(listColumns.map((column, index) => [column.head, listRow(of, now)[index]]));

describe('listRow', () => {
  it.each<[Partial<ReadableResult['agent']>, string]>([
    [{ channel: 'absent' }, 'no channel'],
    [{ channel: 'disconnected' }, 'not connected'],
    [{ answering: false }, 'silent'],
    [{}, 'connected'],
    [{ answering: true, kind: 'qemu-ga', version: '7.2', checkedAt: '2026-11-22T12:00:00.000Z' }, 'qemu-ga 7.2'],
    [{ kind: 'qemu-ga', version: '7.2', checkedAt: '2026-11-22T11:00:00.000Z' }, 'qemu-ga 7.2 (60 min ago)'],
    [{ kind: 'qemu-ga', version: null, checkedAt: '2026-11-23T00:00:00.000Z' }, 'qemu-ga (0 s ago)'],
  ])('agent %j: %s', (agent, text) => {
    expect(
      cells(result({ agent: { channel: 'connected', answering: null, kind: null, version: null, checkedAt: null, ...agent } }))['Agent'],
    ).toBe(text);
  });

  it('sums of sizes are known only where every part is', () => {
    expect(cells(result({ disks: [disk(2 ** 20), disk(2 ** 20)] }))).toMatchObject({
      Capacity: '2 GiB',
      Allocation: '2 MiB',
      Reclaimable: '-',
    });
    expect(cells(result({ disks: [disk(2 ** 20), disk(null)] }))['Allocation']).toBe('-');
    expect(cells(result())['Allocation']).toBe('-');
  });

  it('the last trim with its age, and what came back', () => {
    const at = '2026-11-22T10:00:00.000Z';
    expect(cells(result())['Last trim']).toBe('never');
    expect(cells(result({ lastTrim: { at, reclaimedBytes: 2 ** 30, status: 'ok' } }))['Last trim']).toBe('2 h ago, 1 GiB');
    expect(cells(result({ lastTrim: { at, reclaimedBytes: null, status: 'ok' } }))['Last trim']).toBe('2 h ago, -');
    expect(cells(result({ lastTrim: { at, reclaimedBytes: 5, status: 'failed' } }))['Last trim']).toBe('2 h ago, failed');
  });

  it('frozen by whom, and unknown is not no', () => {
    expect(cells(result())['Frozen']).toBe('no');
    expect(cells(result({ frozen: { ...thawed, state: 'unknown' } }))['Frozen']).toBe('-');
    expect(cells(result({ frozen: { ...thawed, state: 'frozen', by: 'other' } }))['Frozen']).toMatch(/somebody else/);
    expect(cells(result({ frozen: { ...thawed, state: 'frozen', by: 'us' } }))['Frozen']).toMatch(/by us/);
  });

  it('a paused domain says why, and one that is off has no agent to speak of', () => {
    expect(cells(result({ state: 'paused', stateReason: 'I/O error' }))['State']).toBe('paused (I/O error)');
    expect(cells(result({ state: 'shut off', id: null }))).toMatchObject({ Id: '-', State: 'shut off', Agent: '-' });
  });

  it('no control character of a name reaches the terminal', () => {
    expect(cells(result({ name: 'a\u001b[2J\u202e' }))['Name']).toBe('a\ufffd[2J\ufffd');
  });
});

describe('listResult', () => {
  it('a domain that could not be read is an entry of its own', () => {
    const failed = listResult(
      {
        ref: { uuid: 'u', name: 'gone' },
        domain: { uuid: 'u', name: 'gone', error: new AppError('domain-unknown', 'it went') },
        disks: [],
        known: null,
        probe: null,
        lastTrim: null,
      },
      thawed,
    );
    expect(listedResult.parse(failed)).toEqual({ name: 'gone', uuid: 'u', status: 'failed', code: 'domain-unknown', reason: 'it went' });
    expect(listRow(failed, now)).toHaveLength(listColumns.length);
  });
});
