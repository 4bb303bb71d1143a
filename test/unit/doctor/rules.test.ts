import { describe, expect, test } from 'vitest';
import { diagnose, diagnoseHost } from '../../../host/doctor/diagnose.ts';
import { diskRules, domainRules, hostRules } from '../../../host/doctor/fact-rules.ts';
import { xmlRules } from '../../../host/doctor/xml-rules.ts';
import { AppError } from '../../../shared/errors.ts';
import { agent, blockDevice, domainXml, ext4, header, host, image, makeCase, type CaseChanges } from './case.ts';

const gib = 1024 ** 3;
const nfs = (version: string) => ({ ...ext4, type: 'nfs4', mountpoint: '/srv', options: ['rw', `vers=${version}`] });
const commands = (...disabled: string[]) => ({
  info: {
    ...agent.info,
    supported_commands: agent.info.supported_commands.map((one) => ({ ...one, enabled: !disabled.includes(one.name) })),
  },
});
const filesystems = (...list: [name: string, type: string][]) => ({
  filesystems: list.map(([name, type]) => ({ name, mountpoint: `/${name}`, type, disk: [] })),
});

test('a domain in order is ok, in every rule', () => {
  const { verdict, findings } = diagnose(makeCase());
  expect(findings.filter((finding) => finding.verdict !== 'ok')).toEqual([]);
  expect(verdict).toBe('ok');
});

test('every rule has a name of its own', () => {
  const ids = [...xmlRules, ...diskRules, ...domainRules, ...hostRules].map((rule) => rule.id);
  expect(new Set(ids).size).toBe(ids.length);
});

describe('one fact changed, one verdict', () => {
  test.each<[string, CaseChanges, string, string]>([
    ['an internal snapshot', { image: { ...image, qcow2: { ...header, internalSnapshots: 2 } } }, 'internal-snapshots', 'warning'],
    ['a backing file in the header', { image: { ...image, qcow2: { ...header, backingFile: '/base' } } }, 'backing-header', 'warning'],
    [
      'the old format over a backing file',
      { image: { ...image, qcow2: { ...header, compat: '0.10', backingFile: '/base' } } },
      'qcow2-compat',
      'blocks',
    ],
    ['the old format alone', { image: { ...image, qcow2: { ...header, compat: '0.10' } } }, 'qcow2-compat', 'ok'],
    ['clusters of 2 MiB', { image: { ...image, qcow2: { ...header, clusterBytes: 2 * 1024 ** 2 } } }, 'cluster-size', 'warning'],
    ['an image that is all allocated', { image: { ...image, allocationBytes: 40 * gib } }, 'preallocation', 'warning'],
    ['an image longer than its disk', { image: { ...image, lengthBytes: 55 * gib } }, 'fragmentation', 'warning'],
    ['the corrupt bit', { image: { ...image, qcow2: { ...header, corrupt: true } } }, 'image-health', 'blocks'],
    [
      'the dirty bit of a domain that is off',
      { xml: domainXml({ running: false }), agent: null, image: { ...image, qcow2: { ...header, dirty: true } } },
      'image-health',
      'warning',
    ],
    ['no header at all', { image: { ...image, qcow2: null } }, 'format-mismatch', 'blocks'],
    [
      'an image that is gone',
      { image: { path: '/images/web1.qcow2', problem: 'does not exist on this host' } },
      'image-readable',
      'unknown',
    ],
    ['another host', { image: null, storage: null, host: { isLocal: false } }, 'image-readable', 'unknown'],
    ['NFS 3', { storage: nfs('3') }, 'host-filesystem', 'blocks'],
    ['NFS 4.1', { storage: nfs('4.1') }, 'host-filesystem', 'blocks'],
    ['NFS 4.2', { storage: nfs('4.2') }, 'host-filesystem', 'ok'],
    ['vfat', { storage: { ...ext4, type: 'vfat' } }, 'host-filesystem', 'blocks'],
    ['a filesystem nobody knows', { storage: { ...ext4, type: 'fuse.odd' } }, 'host-filesystem', 'unknown'],
    [
      '…that a probe found good',
      { storage: { ...ext4, type: 'fuse.odd' }, hole: { writtenBytes: 2 ** 20, afterPunchBytes: 0, error: null } },
      'host-filesystem',
      'ok',
    ],
    [
      'NFS 4.2 whose server keeps the blocks, as probed',
      { storage: nfs('4.2'), hole: { writtenBytes: 2 ** 20, afterPunchBytes: 2 ** 20, error: null } },
      'host-filesystem',
      'blocks',
    ],
    [
      'NFS 4.2 whose server refuses, as probed',
      { storage: nfs('4.2'), hole: { writtenBytes: 2 ** 20, afterPunchBytes: null, error: 'Operation not supported' } },
      'host-filesystem',
      'blocks',
    ],
    ['a device without discard', { storage: { ...blockDevice, layer: 'disk', discardMaxBytes: 0 } }, 'host-block-device', 'blocks'],
    ['LUKS without discards', { storage: { ...blockDevice, layer: 'crypt', discardMaxBytes: 0 } }, 'host-block-device', 'blocks'],
    ['a thick volume', { storage: { ...blockDevice, layer: 'lvm-thick' } }, 'host-block-device', 'blocks'],
    ['a thin volume', { storage: blockDevice }, 'host-block-device', 'ok'],
    [
      'a thin volume with chunks of 4 MiB',
      { storage: { ...blockDevice, discardGranularityBytes: 4 * 1024 ** 2 } },
      'host-block-device',
      'warning',
    ],
    [
      'a zvol that is reserved',
      { storage: { ...blockDevice, layer: 'zvol', zvol: { dataset: 'tank/a', refreservationBytes: gib, snapshotBytes: 0 } } },
      'host-block-device',
      'blocks',
    ],
    [
      'a sparse zvol',
      { storage: { ...blockDevice, layer: 'zvol', zvol: { dataset: 'tank/a', refreservationBytes: 0, snapshotBytes: 0 } } },
      'host-block-device',
      'ok',
    ],
    ['a zvol that zfs cannot be asked about', { storage: { ...blockDevice, layer: 'zvol' } }, 'host-block-device', 'unknown'],
    [
      'a zvol with snapshots',
      { storage: { ...blockDevice, layer: 'zvol', zvol: { dataset: 'tank/a', refreservationBytes: 0, snapshotBytes: gib } } },
      'host-snapshots',
      'warning',
    ],
    ['qcow2 on a device', { image: { ...image, kind: 'block' }, storage: blockDevice }, 'fragmentation', 'warning'],
    ['a host that is nearly full', { storage: { ...ext4, freeBytes: 4 * gib } }, 'host-space', 'warning'],
    ['a reflink on the host', { shared: { shared: true, how: 'filefrag' } }, 'host-snapshots', 'warning'],
    ['ZFS, which does not tell', { shared: { shared: null, how: 'zfs' } }, 'host-snapshots', 'unknown'],
    ['no channel', { xml: domainXml({ channel: '' }), agent: null }, 'agent-channel', 'blocks'],
    ['a silent agent', { agent: { ok: false, error: new AppError('agent-silent', 'no answer') } }, 'agent-answers', 'blocks'],
    ['a frozen agent', { agent: { ok: false, error: new AppError('agent-frozen', 'frozen') } }, 'agent-answers', 'warning'],
    ['guest-fstrim blocked', { agent: commands('guest-fstrim') }, 'agent-commands', 'blocks'],
    ['the freeze blocked', { agent: commands('guest-fsfreeze-freeze') }, 'agent-commands', 'warning'],
    ['qemu-ga 2.3', { agent: { info: { ...agent.info, version: '2.3.0' } } }, 'agent-version', 'warning'],
    ['a loop mount under qemu-ga 7.2', { agent: filesystems(['vda1', 'xfs'], ['loop0', 'ext4']) }, 'agent-version', 'warning'],
    ['a guest of reiserfs', { agent: filesystems(['vda1', 'reiserfs']) }, 'guest-filesystems', 'blocks'],
    ['one reiserfs among others', { agent: filesystems(['vda1', 'xfs'], ['vdb', 'reiserfs']) }, 'guest-filesystems', 'warning'],
    ['the device mapper in the guest', { agent: filesystems(['dm-0', 'xfs']) }, 'guest-mapper', 'unknown'],
    ['ext4', { agent: filesystems(['vda1', 'ext4']) }, 'guest-memory', 'ok'],
    ['Windows', { agent: { isWindows: true } }, 'windows-vss', 'unknown'],
    ['Windows with a small granularity', { agent: { isWindows: true } }, 'granularity', 'warning'],
    [
      'Windows with a large one',
      { agent: { isWindows: true }, xml: domainXml({ inner: "<blockio discard_granularity='2097152'/>" }) },
      'granularity',
      'ok',
    ],
  ])('%s', (_what, changes, rule, verdict) => {
    const finding = diagnose(makeCase(changes)).findings.find((one) => one.rule === rule);
    expect(finding?.verdict).toBe(verdict);
    expect(finding?.evidence).not.toBe('');
  });

  test('a loop mount under qemu-ga 10 or our own agent is none of its business', () => {
    const loops = filesystems(['loop0', 'ext4']);
    const rules = (changes: CaseChanges) => diagnose(makeCase(changes)).findings.map((finding) => finding.rule);
    expect(rules({ agent: { ...loops, info: { ...agent.info, version: '10.0.2' } } })).not.toContain('agent-version');
    expect(rules({ agent: { ...loops, kind: 'virt-trim' } })).not.toContain('agent-version');
  });
});

describe('now and after a restart', () => {
  const without = "type='qcow2'";
  const blocked = diagnose(makeCase({ xml: domainXml({ driver: without }), next: domainXml() }));

  test('a fault that the configuration no longer has asks for a cold restart', () => {
    const finding = blocked.findings.find((one) => one.rule === 'driver-discard');
    expect(finding).toMatchObject({ verdict: 'blocks', fix: { automatic: false, needsColdStart: true } });
    expect(finding?.fix?.command).toBe('virsh shutdown web1; when it is off: virsh start web1');
  });

  test('one that the next start will bring is announced', () => {
    const finding = diagnose(makeCase({ next: domainXml({ driver: without }) })).findings.find((one) => one.rule === 'driver-discard');
    expect(finding).toMatchObject({ verdict: 'warning' });
    expect(finding?.message).toMatch(/^works as it runs now, and no longer after the next cold start/);
  });

  test('a machine type as well', () => {
    const finding = diagnose(makeCase({ next: domainXml({ machine: 'pc-q35-3.1' }) })).findings.find((one) => one.rule === 'machine-type');
    expect(finding?.verdict).toBe('warning');
  });

  const qemu = { pid: 7, machine: 'pc-q35-7.2', executable: '/usr/bin/qemu', replaced: false } as const;

  test('what QEMU was told counts where it is not what the XML says', () => {
    const told = diagnose(makeCase({ running: { ...qemu, discard: new Map([['virtio-disk0', null]]) } }));
    expect(told.findings.find((one) => one.rule === 'running-qemu')?.verdict).toBe('blocks');
  });

  test('a QEMU that was replaced under its guest is another version than the installed one', () => {
    const { findings } = diagnose(makeCase({ running: { ...qemu, replaced: true, discard: new Map() } }));
    expect(findings.find((one) => one.rule === 'machine-observed')?.verdict).toBe('unknown');
  });
});

test('the host: versions, and what they lack', () => {
  expect(diagnoseHost(host)[0]).toMatchObject({ verdict: 'ok', message: 'discard_no_unref is not available (libvirt 9.5, QEMU 8.1)' });
  expect(diagnoseHost({ ...host, qemu: { major: 3, minor: 1, patch: 0 } })[0]?.verdict).toBe('warning');
  expect(diagnoseHost({ ...host, qemu: null })[0]?.verdict).toBe('unknown');
});
