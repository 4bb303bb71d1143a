import type { DiskDescription, DomainDescription } from '../../libvirt/domain-xml.ts';
import { newerMachineType, parseMachineType, virtioBlkDiscard } from '../machine-type.ts';
import { driverDiscard } from '../rules/driver-discard.ts';
import { machineType } from '../rules/machine-type.ts';
import { isScsiPassthrough, isTrimmable, type XmlDisk } from '../subject.ts';
import { isAtLeast, type Version } from '../version.ts';
import { setDriver, setGranularity, setMachine, type XmlEdit } from './edit-xml.ts';

/** What `fix` can do by itself, in the order in which it is announced. */
export const fixRules = ['driver-discard', 'discard-no-unref', 'granularity', 'machine-type'] as const;
export type FixRule = (typeof fixRules)[number];

export interface Change {
  readonly rule: FixRule;
  readonly disk: string | null;
  /** What is changed, in words. */
  readonly what: string;
  /** What the administrator has to know before saying yes. */
  readonly warnings: readonly string[];
  readonly edit: XmlEdit;
}

/** Something that doctor complains about and that is left alone here, and why. */
export interface LeftAlone {
  readonly rule: FixRule;
  readonly disk: string | null;
  readonly why: string;
}

export interface FixPlan {
  readonly changes: readonly Change[];
  readonly leftAlone: readonly LeftAlone[];
}

export interface PlanFacts {
  /** The configuration that the next start uses. */
  readonly configured: DomainDescription;
  readonly libvirt: Version | null;
  readonly qemu: Version | null;
  readonly machineTypes: readonly string[];
  /** Rules that doctor found wanting, by disk: `fragmentation`, `granularity`, `preallocation`. */
  readonly complaints: ReadonlyMap<string, ReadonlySet<string>>;
}

export interface PlanOptions {
  /** Empty: all but a machine type, which has to be named. */
  readonly only: readonly FixRule[];
  /** A machine type to go to; null: the newest of the same chipset. */
  readonly machine: string | null;
}

const machineWarnings = [
  'a newer machine type also changes CPU and ABI defaults; the PCI addresses stay, so the network cards keep their names',
  'the guest can no longer be migrated to a host whose QEMU does not have this type',
  'Windows can ask to be activated again',
];

function planDiscard(disk: DiskDescription, facts: PlanFacts): Change | LeftAlone | null {
  const rule = 'driver-discard';
  if (driverDiscard.judge(xmlDisk(disk, facts))?.verdict !== 'blocks') return null;
  if (disk.encryption !== null) {
    const why = `${disk.target} is encrypted: holes would show anyone who gets the image which blocks are in use. That is for you to decide: set discard='unmap' by hand if you accept it`;
    return { rule, disk: disk.target, why };
  }
  if (disk.shareable) return { rule, disk: disk.target, why: `${disk.target} is shared with other guests: a trim by one is seen by all` };
  const preallocated = facts.complaints.get(disk.target)?.has('preallocation') === true;
  const warnings = preallocated
    ? [`every block of ${disk.target} is allocated: if that is a preallocation on purpose, the first trim undoes it`]
    : [];
  return {
    rule,
    disk: disk.target,
    what: `${disk.target}: <driver discard='unmap'>`,
    warnings,
    edit: setDriver(disk.target, 'discard', 'unmap'),
  };
}

function planUnref(disk: DiskDescription, facts: PlanFacts, asked: boolean): Change | LeftAlone | null {
  const rule = 'discard-no-unref';
  const complained = facts.complaints.get(disk.target)?.has('fragmentation') === true;
  if (disk.format !== 'qcow2' || disk.discardNoUnref === 'on' || !(complained || asked)) return null;
  const known = facts.libvirt !== null && facts.qemu !== null && isAtLeast(facts.libvirt, 9, 5) && isAtLeast(facts.qemu, 8, 1);
  if (!known) return { rule, disk: disk.target, why: `${disk.target}: discard_no_unref needs libvirt 9.5 and QEMU 8.1 on this host` };
  return {
    rule,
    disk: disk.target,
    what: `${disk.target}: <driver discard_no_unref='on'>`,
    warnings: [],
    edit: setDriver(disk.target, 'discard_no_unref', 'on'),
  };
}

/** A cluster of qcow2 is what it can free; below 32 KiB Windows does badly. */
const granularityBytes = 65_536;

function planGranularity(disk: DiskDescription, facts: PlanFacts, asked: boolean): Change | null {
  const complained = facts.complaints.get(disk.target)?.has('granularity') === true;
  if (!(complained || asked) || (disk.discardGranularity ?? 0) >= granularityBytes) return null;
  return {
    rule: 'granularity',
    disk: disk.target,
    what: `${disk.target}: <blockio discard_granularity='${granularityBytes}'>`,
    warnings: [],
    edit: setGranularity(disk.target, granularityBytes),
  };
}

function planMachine(disks: readonly DiskDescription[], facts: PlanFacts, options: PlanOptions): Change | LeftAlone | null {
  const rule = 'machine-type';
  const blocked = disks.filter((disk) => machineType.judge(xmlDisk(disk, facts))?.verdict === 'blocks').map((disk) => disk.target);
  if (blocked.length === 0) return null;
  const present = parseMachineType(facts.configured.machine ?? '');
  if (!options.only.includes(rule)) {
    const why = `the machine type ${present.name} has no virtio-blk discard (${blocked.join(', ')}); changing it has more consequences, so name it: --only machine-type`;
    return { rule, disk: null, why };
  }
  const wanted = options.machine ?? newerMachineType(present, facts.machineTypes, facts.qemu);
  if (wanted === null) {
    const why = `this host has no ${present.chipset} type with virtio-blk discard. Another chipset renames the guest's network cards, so that is not done; moving ${blocked.join(', ')} to virtio-scsi is the way out`;
    return { rule, disk: null, why };
  }
  const problem = machineProblem(wanted, present.chipset, facts);
  if (problem !== null) return { rule, disk: null, why: problem };
  return { rule, disk: null, what: `machine type ${present.name} → ${wanted}`, warnings: machineWarnings, edit: setMachine(wanted) };
}

function machineProblem(wanted: string, chipset: string, facts: PlanFacts): string | null {
  const type = parseMachineType(wanted);
  if (type.chipset !== chipset) {
    return `${wanted} is another chipset than ${chipset}: PCI addresses would change and the guest's network cards get new names; that is never done here`;
  }
  if (!facts.machineTypes.includes(wanted)) return `this host's QEMU has no machine type ${wanted}`;
  return virtioBlkDiscard(type, facts.qemu).offered === true ? null : `${wanted} has no virtio-blk discard either`;
}

function xmlDisk(disk: DiskDescription, facts: PlanFacts): XmlDisk {
  return { domain: facts.configured, disk, qemu: facts.qemu, machineTypes: facts.machineTypes };
}

function isChange(step: Change | LeftAlone): step is Change {
  return 'edit' in step;
}

/** What is to be changed in a domain's configuration, and what is not. Pure. */
export function planFix(facts: PlanFacts, options: PlanOptions): FixPlan {
  const wanted = (rule: FixRule): boolean => options.only.length === 0 || options.only.includes(rule);
  const asked = (rule: FixRule): boolean => options.only.includes(rule);
  const disks = facts.configured.disks.filter((disk) => isTrimmable(disk) && !isScsiPassthrough(disk));
  const steps = [
    ...disks.flatMap((disk) => [
      wanted('driver-discard') ? planDiscard(disk, facts) : null,
      wanted('discard-no-unref') ? planUnref(disk, facts, asked('discard-no-unref')) : null,
      wanted('granularity') ? planGranularity(disk, facts, asked('granularity')) : null,
    ]),
    wanted('machine-type') ? planMachine(disks, facts, options) : null,
  ].filter((step) => step !== null);
  return { changes: steps.filter(isChange), leftAlone: steps.filter((step): step is LeftAlone => !isChange(step)) };
}
