import { isAtLeast, parseVersion, type Version } from './version.ts';

/**
 * A machine type's name, read. `chipset` is what the guest sees; a newer version of the same chipset keeps the PCI addresses, another
 * chipset renames the guest's network cards.
 */
export interface MachineType {
  readonly name: string;
  readonly chipset: string;
  readonly vendor: 'upstream' | 'rhel' | 'ubuntu' | 'other';
  /** QEMU's version that it stands for; null for an alias and for types without versions. */
  readonly version: Version | null;
  /** Whose numbering `version` is: RHEL counts its own releases. */
  readonly release: string | null;
}

/** Ubuntu's releases and the QEMU each came with (packages.ubuntu.com; `disco` is the last one below 4.0). */
const ubuntuReleases: Readonly<Record<string, string>> = {
  trusty: '2.0',
  utopic: '2.1',
  vivid: '2.2',
  wily: '2.3',
  xenial: '2.5',
  yakkety: '2.6',
  zesty: '2.8',
  artful: '2.10',
  bionic: '2.11',
  cosmic: '2.12',
  disco: '3.1',
  eoan: '4.0',
  focal: '4.2',
  groovy: '5.0',
  hirsute: '5.2',
  impish: '6.0',
  jammy: '6.2',
  kinetic: '7.0',
  lunar: '7.2',
  mantic: '8.0',
  noble: '8.2',
  oracular: '9.0',
  plucky: '9.2',
  questing: '10.1',
};

/** The chipset behind each way to name it; `pc` alone and the old `pc-1.0` are i440FX. */
const chipsets: readonly (readonly [RegExp, string])[] = [
  [/^pc-i440fx(?=-|$)/, 'pc-i440fx'],
  [/^pc-q35(?=-|$)/, 'pc-q35'],
  [/^pc(?=-|$)/, 'pc-i440fx'],
  [/^q35$/, 'pc-q35'],
  [/^rhel(?=\d)/, 'pc-i440fx'],
  [/^ubuntu-q35$/, 'pc-q35'],
  [/^ubuntu$/, 'pc-i440fx'],
  [/^s390-ccw-virtio(?=-|$)/, 's390-ccw-virtio'],
  [/^s390-ccw$/, 's390-ccw-virtio'],
  [/^pseries(?=-|$)/, 'pseries'],
  [/^virt(?=-|$)/, 'virt'],
];

/** Reads a machine type's name: `pc-i440fx-3.1`, `q35`, `virt-rhel8.6.0`, `pc-q35-eoan-hpb`, `s390-ccw-virtio-focal`. */
export function parseMachineType(name: string): MachineType {
  const known = chipsets.find(([pattern]) => pattern.test(name));
  if (known === undefined) return { name, chipset: name, vendor: 'other', version: null, release: null };
  const [pattern, chipset] = known;
  const rest = name.replace(pattern, '').replace(/^-/, '');
  const rhel = /^(?:rhel)?(\d+\.\d+(?:\.\d+)?)/.exec(rest);
  if (rhel !== null && (rest.startsWith('rhel') || name.startsWith('rhel'))) {
    return { name, chipset, vendor: 'rhel', version: null, release: rhel[1] ?? null };
  }
  const word = /^[a-z]+/.exec(rest)?.[0] ?? '';
  const ubuntu = ubuntuReleases[word];
  if (ubuntu !== undefined) return { name, chipset, vendor: 'ubuntu', version: parseVersion(ubuntu), release: word };
  return { name, chipset, vendor: 'upstream', version: parseVersion(rest), release: null };
}

/** What a machine type does with virtio-blk's discard feature. */
export interface VirtioBlkDiscard {
  readonly offered: boolean | null;
  readonly because: string;
}

/**
 * Whether virtio-blk offers discard to the guest. The compatibility table of QEMU 3.1 switches it off (hw/core/machine.c, hw_compat_3_1:
 * `virtio-blk-device discard=false`) for every architecture with versioned types; measured for each x86 type of QEMU 7.2 by
 * `test/bench/doctor-machine-types.ts`.
 * @param qemu version of the QEMU that runs it; null where unknown.
 */
export function virtioBlkDiscard(machine: MachineType, qemu: Version | null): VirtioBlkDiscard {
  if (qemu !== null && !isAtLeast(qemu, 4)) {
    return { offered: false, because: `QEMU ${qemu.major}.${qemu.minor} has no virtio-blk discard at all; it came with 4.0` };
  }
  if (machine.vendor === 'rhel') {
    const release = parseVersion(machine.release ?? '');
    if (release === null) return { offered: null, because: `no version in the name ${machine.name}` };
    // hw_compat_rhel_8_0 holds `virtio-blk-device discard=false`, hw_compat_rhel_8_1 is QEMU 4.1's (read in RHEL 9's qemu-kvm source package).
    return isAtLeast(release, 8, 1)
      ? { offered: true, because: `${machine.name} is RHEL's name for a type of QEMU 4.1 or later` }
      : { offered: false, because: `${machine.name} is RHEL's name for a type older than QEMU 4.0` };
  }
  if (machine.version !== null) {
    const { major, minor } = machine.version;
    const origin = machine.vendor === 'ubuntu' ? `Ubuntu's ${machine.release} is QEMU ${major}.${minor}` : `type version ${major}.${minor}`;
    return { offered: isAtLeast(machine.version, 4), because: origin };
  }
  if (qemu === null) return { offered: null, because: `${machine.name} has no version of its own: it depends on the QEMU that runs it` };
  return { offered: true, because: `${machine.name} has no version of its own and QEMU is ${qemu.major}.${qemu.minor}` };
}

/**
 * The newest type of the same chipset that offers virtio-blk discard, among those the host has; null where there is none.
 * Types of other vendors than the present one count only where the present one's vendor has none.
 */
export function newerMachineType(present: MachineType, available: readonly string[], qemu: Version | null): string | null {
  const candidates = available
    .map(parseMachineType)
    .filter((type) => type.chipset === present.chipset && (type.version !== null || type.release !== null))
    .filter((type) => virtioBlkDiscard(type, qemu).offered === true && !/-hpb|-maxcpus/.test(type.name));
  const sameVendor = candidates.filter((type) => type.vendor === present.vendor);
  const [best] = (sameVendor.length > 0 ? sameVendor : candidates).sort((a, b) => compare(orderOf(b), orderOf(a)));
  return best?.name ?? null;
}

function orderOf(type: MachineType): Version {
  return type.version ?? parseVersion(type.release ?? '') ?? { major: 0, minor: 0, patch: 0 };
}

function compare(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch;
}
