import { describe, expect, it } from 'vitest';
import { explainDiscardPath, type DiscardPath } from '../../../host/doctor/discard-path.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';
import type { Domain } from '../../../host/libvirt/domains.ts';
import { decideSkip } from '../../../host/trim/eligibility.ts';
import { domainStatus, judgeDisk, type JudgedDisk } from '../../../host/trim/judge.ts';
import type { Measurement } from '../../../host/trim/measure.ts';
import { explainNothing, type DiskEvidence } from '../../../host/trim/outcome.ts';
import { AppError } from '../../../shared/errors.ts';

const mebibyte = 2 ** 20;

function domain(changes: Partial<Domain> = {}, driver = "type='qcow2' discard='unmap'"): Domain {
  const described = parseDomainXml(`<domain type='kvm' id='3'><name>web</name><uuid>11111111-2222-3333-4444-555555555555</uuid>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>
    <disk type='file' device='disk'><driver name='qemu' ${driver}/><source file='/i/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>`);
  return { ...described, state: 'running', stateReason: 'booted', stats: null, ...changes };
}

const pathsOf = (of: Domain): Map<string, DiscardPath> => new Map(of.disks.map((disk) => [disk.target, explainDiscardPath(of, disk)]));
const skip = (of: Domain, force = false): ReturnType<typeof decideSkip> => decideSkip(of, null, pathsOf(of), force);

describe('decideSkip', () => {
  it('lets a healthy domain through', () => {
    expect(skip(domain())).toBeNull();
    expect(skip(domain({ state: 'blocked', stateReason: null }))).toBeNull();
  });

  it.each<[string, Partial<Domain>, string, boolean]>([
    ['off', { state: 'shut off', stateReason: 'shutdown', id: null }, 'off', true],
    ['crashed', { state: 'crashed', stateReason: null }, 'off', true],
    ['paused by its administrator', { state: 'paused', stateReason: 'user' }, 'paused', true],
    ['asleep', { state: 'suspended', stateReason: null }, 'paused', true],
    ['paused by an I/O error: never nobody’s fault', { state: 'paused', stateReason: 'I/O error' }, 'degraded', false],
    ['paused while it migrates', { state: 'paused', stateReason: 'migrating' }, 'migrating', false],
    ['migrating, post-copy', { state: 'running', stateReason: 'post-copy' }, 'migrating', false],
    ['without a channel', { channel: 'absent' }, 'no-channel', false],
    ['without an agent', { channel: 'disconnected' }, 'agent-disconnected', false],
    ['without a disk to trim', { disks: [] }, 'no-disks', true],
    ['in a state nobody knows', { state: 'no state', stateReason: null }, 'paused', true],
  ])('a domain that is %s', (_what, changes, code, neutral) => {
    const decided = skip(domain(changes));
    expect(decided).toMatchObject({ code, neutral });
    expect(decided?.reason).toMatch(/^\S.+/);
  });

  it.each([
    ['migration', 'migrating'],
    ['backup', 'job-active'],
    ['block-copy', 'job-active'],
  ] as const)('a %s job', (kind, code) => {
    const decided = decideSkip(domain(), { kind, detail: 'Outgoing thing' }, new Map(), true);
    expect(decided).toMatchObject({ code, neutral: false });
    expect(decided?.reason).toContain('Outgoing thing');
  });

  it('a discard that cannot reach the host: refused with the evidence, unless forced', () => {
    const blocked = domain({}, "type='qcow2'");
    const decided = skip(blocked);
    expect(decided).toMatchObject({ code: 'discard-blocked', neutral: false });
    expect(decided?.reason).toMatch(/vda: .*discard.*\[.*\].*--force/);
    expect(skip(blocked, true)).toBeNull();
  });
});

describe('explainNothing', () => {
  const base: DiskEvidence = {
    beforeBytes: 500 * mebibyte,
    afterBytes: 500 * mebibyte,
    capacityBytes: 1024 * mebibyte,
    usedBytes: null,
    discard: explainDiscardPath(domain(), domain().disks[0]!),
    paths: [{ path: '/', trimmedBytes: 0, error: null }],
    onlyDisk: true,
  };
  const explain = (changes: Partial<DiskEvidence>): ReturnType<typeof explainNothing> => explainNothing({ ...base, ...changes });

  it('has nothing to say where something came back, or nothing is known', () => {
    expect(explain({ afterBytes: 400 * mebibyte })).toEqual({ reason: null, missing: false });
    expect(explain({ afterBytes: null })).toEqual({ reason: null, missing: false });
    expect(explain({ beforeBytes: null })).toEqual({ reason: null, missing: false });
  });

  it('names the layer that blocks before anything the guest says', () => {
    const blocked = domain({}, "type='qcow2'");
    const { reason, missing } = explain({
      discard: explainDiscardPath(blocked, blocked.disks[0]!),
      paths: [{ path: '/', trimmedBytes: 900 * mebibyte, error: null }],
    });
    expect(reason).toMatch(/discard/);
    expect(missing).toBe(true);
  });

  it('takes the guest’s word for what it could not do', () => {
    expect(explain({ paths: [{ path: '/data', trimmedBytes: null, error: 'trim not supported' }] })).toEqual({
      reason: 'the guest could trim nothing: /data: trim not supported',
      missing: true,
    });
  });

  it('already trimmed is no failure', () => {
    const { reason, missing } = explain({ paths: [{ path: '/', trimmedBytes: 0, error: null }] });
    expect(reason).toMatch(/already trimmed/);
    expect(missing).toBe(false);
  });

  it('already trimmed, but the image holds far more than the guest uses: says what would bring it', () => {
    const { reason, missing } = explain({ usedBytes: 50 * mebibyte });
    expect(reason).toMatch(/already trimmed.*450 MiB may come back after the guest remounts or reboots/);
    expect(missing).toBe(false);
  });

  it('a claim that the host cannot have held is nothing to free', () => {
    expect(explain({ paths: [{ path: '/', trimmedBytes: 400 * mebibyte, error: null }] })).toMatchObject({
      reason: expect.stringMatching(/nothing to free/) as unknown,
      missing: false,
    });
  });

  it('a claim that must have been allocated here, and nothing came back: missing', () => {
    const { reason, missing } = explain({
      beforeBytes: 1000 * mebibyte,
      afterBytes: 1000 * mebibyte,
      paths: [{ path: '/', trimmedBytes: 900 * mebibyte, error: null }],
    });
    expect(missing).toBe(true);
    expect(reason).toMatch(/the guest discarded 900 MiB and the host got nothing/);
  });

  it('does not blame one of several disks for a claim that can be another’s', () => {
    expect(
      explain({
        onlyDisk: false,
        beforeBytes: 1000 * mebibyte,
        afterBytes: 1000 * mebibyte,
        paths: [{ path: '/', trimmedBytes: 900 * mebibyte, error: null }],
      }).missing,
    ).toBe(false);
  });

  it('a growth is no reclaim, and is explained like nothing', () => {
    expect(explain({ afterBytes: 600 * mebibyte }).reason).toMatch(/already trimmed/);
  });

  it('noise below a few clusters is nothing', () => {
    expect(explain({ afterBytes: 500 * mebibyte - 128 * 1024 }).reason).not.toBeNull();
    expect(explain({ afterBytes: 499 * mebibyte }).reason).toBeNull();
  });
});

describe('judgeDisk and domainStatus', () => {
  const measurement = (bytes: number | null, reason: string | null = null): Measurement => ({
    bytes,
    lengthBytes: null,
    method: bytes === null ? 'none' : 'st_blocks',
    reason,
  });
  const trim = { paths: [{ path: '/', trimmedBytes: 4096, error: null }], error: null, ms: 10 };
  const judge = (before: Measurement, after: Measurement, stable = true, error: AppError | null = null): JudgedDisk =>
    judgeDisk(
      domain(),
      { disk: domain().disks[0]!, before, after, stable, usedBytes: null, discard: null, onlyDisk: true },
      { ...trim, error },
    );
  const status = (judged: JudgedDisk[], error: AppError | null = null, after: Domain | null = domain()): ReturnType<typeof domainStatus> =>
    domainStatus(judged, { ...trim, error }, after);

  it('bytes are before minus after, and negative where the guest wrote more', () => {
    expect(judge(measurement(10 * mebibyte), measurement(4 * mebibyte)).disk).toMatchObject({
      reclaimedBytes: 6 * mebibyte,
      stable: true,
      reason: null,
    });
    expect(judge(measurement(4 * mebibyte), measurement(10 * mebibyte)).disk.reclaimedBytes).toBe(-6 * mebibyte);
  });

  it('unknown is null and never 0', () => {
    const { disk } = judge(measurement(null, 'cannot tell'), measurement(null, 'cannot tell'));
    expect(disk).toMatchObject({
      beforeBytes: null,
      afterBytes: null,
      reclaimedBytes: null,
      stable: false,
      method: 'none',
      reason: 'cannot tell',
    });
    expect(status([judge(measurement(null, 'cannot tell'), measurement(null, 'cannot tell'))])).toEqual({
      status: 'unverified',
      code: 'not-measured',
      reason: 'cannot tell',
    });
  });

  it('an I/O error since the trim wins over everything', () => {
    const paused = domain({ state: 'paused', stateReason: 'I/O error' });
    expect(status([judge(measurement(10), measurement(1))], null, paused)).toMatchObject({ status: 'failed', code: 'io-error' });
  });

  it('a trim that failed is failed, whatever the images did', () => {
    const error = new AppError('agent-silent', 'no answer');
    expect(status([judge(measurement(10 * mebibyte), measurement(1), true, error)], error)).toEqual({
      status: 'failed',
      code: 'agent-silent',
      reason: 'no answer',
    });
  });

  it('a guest that writes without end is unverified, unless something came back all the same', () => {
    expect(status([judge(measurement(1), measurement(2), false)])).toMatchObject({ status: 'unverified', code: 'not-stable' });
    expect(status([judge(measurement(9 * mebibyte), measurement(2), false)])).toMatchObject({ status: 'ok' });
  });

  it('what was measured stays true where libvirt cannot be asked any more', () => {
    expect(status([judge(measurement(9 * mebibyte), measurement(2))], null, null)).toMatchObject({ status: 'ok' });
  });
});
