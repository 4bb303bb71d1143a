import { expect, it } from 'vitest';
import { consistencyAfterThaw, consistencyAtFreeze, satisfies } from '../../../host/quiesce/consistency.ts';

const frozen = { frozenCount: 3, expectedCount: 3, mountpoints: null, isWindows: false };
const thawed = { thawedCount: 3, thawError: null, leaseExpired: false, ended: false };

it('is filesystem when all that can be frozen was, and stayed so', () => {
  expect(consistencyAtFreeze(frozen)).toEqual({ consistency: 'filesystem', reason: null });
  expect(consistencyAfterThaw(frozen, thawed)).toEqual({ consistency: 'filesystem', reason: null });
});

it.each([
  ['nothing was frozen', { ...frozen, frozenCount: 0 }, thawed, /no filesystem/],
  ['less was frozen than can be', { ...frozen, frozenCount: 2 }, thawed, /2 .* of 3/],
  ['less was frozen than was named', { ...frozen, frozenCount: 1, mountpoints: ['/a', '/b'] }, thawed, /1 .* of 2/],
  ['the thaw found nothing frozen', frozen, { ...thawed, thawedCount: 0 }, /rebooted/],
  ['the thaw found less than was frozen', frozen, { ...thawed, thawedCount: 2 }, /early/],
  ["the thaw's answer was lost", frozen, { ...thawed, thawedCount: null }, /lost/],
  ['the lease ran out', frozen, { ...thawed, leaseExpired: true }, /lease ran out/],
  ['the guest was started anew', frozen, { ...thawed, ended: true, thawedCount: null }, /started anew/],
  [
    'VSS let go by itself',
    { ...frozen, isWindows: true },
    { ...thawed, thawedCount: null, thawError: "couldn't hold writes" },
    /hold writes/,
  ],
])('is crash where %s', (_why, freeze, thaw, reason) => {
  const verdict = consistencyAfterThaw(freeze, thaw);
  expect(verdict.consistency).toBe('crash');
  expect(verdict.reason).toMatch(reason);
});

it('is application only where VSS asked the applications', () => {
  expect(consistencyAfterThaw({ ...frozen, isWindows: true }, thawed).consistency).toBe('application');
});

it('names the filesystems where only some were asked for', () => {
  const verdict = consistencyAfterThaw({ ...frozen, frozenCount: 1, mountpoints: ['/srv'] }, { ...thawed, thawedCount: 1 });
  expect(verdict).toMatchObject({ consistency: 'filesystem', reason: expect.stringContaining('/srv') });
});

it('does not know better than the guest where the guest would not say what can be frozen', () => {
  expect(consistencyAtFreeze({ ...frozen, expectedCount: null }).consistency).toBe('filesystem');
});

it('ranks application over filesystem over crash, and paused with crash', () => {
  expect(satisfies('application', 'filesystem')).toBe(true);
  expect(satisfies('filesystem', 'application')).toBe(false);
  expect(satisfies('crash', 'filesystem')).toBe(false);
  expect(satisfies('paused', 'filesystem')).toBe(false);
  expect(satisfies('paused', 'crash')).toBe(true);
});
