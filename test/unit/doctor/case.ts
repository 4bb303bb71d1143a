import type { AgentFacts } from '../../../host/agent/probe.ts';
import type { BlockFacts, DiskFacts, DomainFacts, FilesystemFacts, HostFacts } from '../../../host/doctor/facts.ts';
import { parseDomainXml } from '../../../host/libvirt/domain-xml.ts';
import type { Domain } from '../../../host/libvirt/domains.ts';
import type { ImageFacts } from '../../../host/sizes/image.ts';
import type { Qcow2Header } from '../../../host/sizes/qcow2-header.ts';

const gib = 1024 ** 3;

export const host: HostFacts = {
  isLocal: true,
  libvirt: { major: 9, minor: 0, patch: 0 },
  qemu: { major: 7, minor: 2, patch: 0 },
  machineTypes: new Map([['x86_64', ['pc-i440fx-7.2', 'pc-q35-7.2']]]),
  daemon: 'monolithic',
};

export function domainXml(
  changes: { driver?: string; machine?: string; channel?: string; running?: boolean; inner?: string } = {},
): string {
  return `<domain type='kvm'${changes.running === false ? '' : " id='3'"}><name>web1</name>
    <uuid>11111111-2222-3333-4444-555555555555</uuid>
    <os><type arch='x86_64' machine='${changes.machine ?? 'pc-q35-7.2'}'>hvm</type></os>
    <devices><disk type='file' device='disk'><driver name='qemu' ${changes.driver ?? "type='qcow2' discard='unmap'"}/>
      <source file='/images/web1.qcow2'/><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>${changes.inner ?? ''}</disk>
      ${changes.channel ?? "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"}
    </devices></domain>`;
}

export const header: Qcow2Header = {
  compat: '1.1',
  capacityBytes: 40 * gib,
  clusterBytes: 65_536,
  refcountBits: 16,
  extendedL2: false,
  encryption: 'none',
  luksHeaderBytes: 0,
  internalSnapshots: 0,
  backingFile: null,
  dataFile: null,
  hasDataFile: false,
  dirty: false,
  corrupt: false,
  bitmaps: 0,
};

export const image: ImageFacts = {
  path: '/images/web1.qcow2',
  kind: 'file',
  format: 'qcow2',
  lengthBytes: 12 * gib,
  allocationBytes: 10 * gib,
  device: 1,
  inode: 2,
  qcow2: header,
  looksLikeQcow2: true,
};

export const ext4: FilesystemFacts = {
  kind: 'filesystem',
  type: 'ext4',
  mountpoint: '/',
  source: '/dev/sda1',
  options: ['rw'],
  totalBytes: 100 * gib,
  freeBytes: 50 * gib,
};

export const blockDevice: BlockFacts = {
  kind: 'block',
  name: 'dm-4',
  discardMaxBytes: 4 * gib,
  discardGranularityBytes: 65_536,
  layer: 'lvm-thin',
  zvol: null,
};

export const agent: AgentFacts = {
  info: {
    version: '7.2.22',
    supported_commands: ['guest-fstrim', 'guest-fsfreeze-freeze', 'guest-fsfreeze-thaw', 'guest-fsfreeze-status', 'guest-get-fsinfo'].map(
      (name) => ({ name, enabled: true }),
    ),
  },
  kind: 'qemu-ga',
  os: { id: 'debian' },
  osText: 'Debian 12',
  isWindows: false,
  frozen: 'thawed',
  filesystems: [{ name: 'vda1', mountpoint: '/', type: 'xfs', disk: [] }],
};

export interface CaseChanges {
  readonly xml?: string;
  readonly next?: string;
  readonly image?: DiskFacts['image'];
  readonly storage?: DiskFacts['storage'];
  readonly hole?: DiskFacts['hole'];
  readonly shared?: DiskFacts['shared'];
  readonly agent?: Partial<AgentFacts> | DomainFacts['agent'];
  readonly running?: DomainFacts['running'];
  readonly host?: Partial<HostFacts>;
}

/** A domain in perfect order, with some of its facts changed. */
export function makeCase(changes: CaseChanges = {}): { facts: DomainFacts; disks: DiskFacts[] } {
  const description = parseDomainXml(changes.xml ?? domainXml());
  const domain: Domain = { ...description, state: description.id === null ? 'shut off' : 'running', stateReason: null, stats: null };
  const hostFacts = { ...host, ...changes.host };
  const isProbe = (value: CaseChanges['agent']): value is DomainFacts['agent'] => value === null || (value !== undefined && 'ok' in value);
  const facts: DomainFacts = {
    domain,
    next: changes.next === undefined ? null : parseDomainXml(changes.next),
    running: changes.running ?? null,
    agent: isProbe(changes.agent) ? changes.agent : { ok: true, facts: { ...agent, ...changes.agent } },
    agentAsked: true,
    host: hostFacts,
  };
  const disks = domain.disks.map((disk): DiskFacts => ({
    domain,
    disk,
    qemu: hostFacts.qemu,
    machineTypes: hostFacts.machineTypes.get('x86_64') ?? [],
    image: changes.image === undefined ? image : changes.image,
    storage: changes.storage === undefined ? ext4 : changes.storage,
    hole: changes.hole ?? null,
    shared: changes.shared ?? null,
    domainFacts: facts,
  }));
  return { facts, disks };
}
