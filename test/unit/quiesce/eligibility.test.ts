import { expect, it } from 'vitest';
import { checkDomain, checkGuest } from '../../../host/quiesce/eligibility.ts';
import { freezableOf } from '../../../host/quiesce/freezable.ts';
import { hasRunOut, markOf, readMark, setMarkCommand } from '../../../host/quiesce/lease-mark.ts';
import type { GuestFacts, Subject } from '../../../host/quiesce/subject.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';

const channel = (state: string) =>
  `<devices><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='${state}'/></channel></devices>`;
const domain = (metadata = '', devices = channel('connected')) =>
  parseDomainXml(
    `<domain type='kvm' id='3'><name>db1</name><uuid>6c26c6eb-44bf-4c91-a4f6-835e70ac3e4b</uuid>${metadata}${devices}</domain>`,
  );
const subject: Subject = { domain: domain(), state: 'running', job: null };
const options = { force: false, windows: false, leaseSeconds: 60 };
const now = { bootId: 'b', centis: 1000, wallMs: Date.parse('2026-11-22T09:00:00Z') };
const code = (work: () => unknown): string => {
  try {
    return String(work());
  } catch (error) {
    return (error as { code: string }).code;
  }
};

const mark = (bootId: string, untilCentis: number, deadline: string) =>
  markOf(
    { id: '0123456789abcdef', host: 'hv2', user: 'a"<b', bootId, createdAt: '2026-11-22T08:00:00Z' } as Parameters<typeof markOf>[0],
    untilCentis,
    deadline,
  );
const marked = (bootId: string, untilCentis: number, deadline: string) => {
  const xml = (setMarkCommand('u', mark(bootId, untilCentis, deadline))[6] ?? '').replace(
    '<lease',
    '<v:lease xmlns:v="https://virt-trim.org/xmlns/domain/1/lease"',
  );
  return domain(`<metadata>${xml}</metadata>`);
};

it('freezes a running guest with an agent', () => {
  expect(checkDomain(subject, options, now)).toBe('freeze');
});

it('has nothing to freeze in a paused one', () => {
  expect(checkDomain({ ...subject, state: 'paused' }, options, now)).toBe('paused');
});

it.each([
  ['is off', { ...subject, state: 'shut off' }, 'domain-not-running'],
  ['has a job', { ...subject, job: { kind: 'migration', detail: 'Outgoing migration' } as const }, 'refused'],
  ['belongs to a manager', { ...subject, domain: { ...subject.domain, manager: 'oVirt' } }, 'refused'],
  ['has no channel', { ...subject, domain: domain('', '<devices/>') }, 'no-channel'],
  ['has no agent running', { ...subject, domain: domain('', channel('disconnected')) }, 'agent-disconnected'],
  ['is held by another user on this host', { ...subject, domain: marked('b', 2000, '2026-11-22T08:00:00Z') }, 'busy'],
  ['is held by another host', { ...subject, domain: marked('other', 0, '2026-11-22T09:00:30Z') }, 'busy'],
] as const)('refuses one that %s', (_why, each, expected) => {
  expect(code(() => checkDomain(each, options, now))).toBe(expected);
});

it('freezes one with a job or a manager when forced', () => {
  const busy = { ...subject, job: { kind: 'backup', detail: 'x' } as const, domain: { ...subject.domain, manager: 'oVirt' } };
  expect(checkDomain(busy, { ...options, force: true }, now)).toBe('freeze');
});

it('believes the boot clock over wall time, and gives another host a minute', () => {
  expect(hasRunOut(mark('b', 999, '2099-01-01T00:00:00Z'), now)).toBe(true);
  expect(hasRunOut(mark('b', 1001, '2000-01-01T00:00:00Z'), now)).toBe(false);
  expect(hasRunOut(mark('x', 0, '2026-11-22T08:59:30Z'), now)).toBe(false);
  expect(hasRunOut(mark('x', 0, '2026-11-22T08:58:30Z'), now)).toBe(true);
});

it('reads the mark that it wrote', () => {
  expect(readMark(marked('b', 5, 'd'))).toMatchObject({ id: '0123456789abcdef', user: 'a"<b', untilCentis: 5 });
});

const facts: GuestFacts = { isWindows: false, hasWatchdog: false, freezable: null, status: 'thawed' };

it("refuses somebody else's freeze", () => {
  expect(code(() => checkGuest('db1', { ...facts, status: 'frozen' }, options))).toBe('refused');
});

it('freezes Windows only where it was allowed, with a lease that VSS fits in', () => {
  const windows = { ...facts, isWindows: true };
  expect(code(() => checkGuest('w', windows, options))).toBe('refused');
  expect(code(() => checkGuest('w', windows, { ...options, windows: true }))).toBe('usage');
  expect(() => checkGuest('w', windows, { ...options, windows: true, leaseSeconds: 90 })).not.toThrow();
});

it('counts each filesystem once and names those that cannot be frozen', () => {
  const each = (name: string, mountpoint: string, type: string) => ({ name, mountpoint, type, disk: [] });
  const found = freezableOf([each('vda1', '/', 'ext4'), each('vda1', '/srv', 'ext4'), each('vda2', '/boot/efi', 'vfat')], false);
  expect(found).toEqual({ expectedCount: 1, skipped: [{ path: '/boot/efi', reason: 'vfat cannot be frozen' }] });
});
