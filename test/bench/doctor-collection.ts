import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseQemuArguments } from '../../host/doctor/gather/running-qemu.ts';
import type { Verdict } from '../../host/doctor/finding.ts';
import { isTrimmable } from '../../host/doctor/subject.ts';
import { parseVersion } from '../../host/doctor/version.ts';
import { judgeXml } from '../../host/doctor/xml-rules.ts';
import { parseDomainXml, type DiskDescription } from '../../host/libvirt/domain-xml.ts';
import { toAppError } from '../../shared/errors.ts';

/**
 * doctor's XML rules against libvirt's own collection of domain XMLs: tests/qemuxml2argvdata (9.0), tests/qemuxmlconfdata (11.3) of
 * libvirt's source package, which is not part of this project. The judge is libvirt itself: beside each XML lies the QEMU command line
 * it makes of it; what libvirt refuses (`-invalid`) is left out. A verdict is doubtful where driver, device or format on that command line say otherwise, or where the XML decides and
 * the rule does not know.
 *
 *   apt-get source --download-only libvirt; tar xf libvirt_*.orig.tar.xz
 *   npx tsx test/bench/doctor-collection.ts libvirt-*\/tests/qemuxml2argvdata
 */

/** What the XML alone cannot decide, whoever reads it. */
const notInTheXml = new Set(['lun', 'vhost-user', 'network-protocol', 'domain-type', 'qemu-arguments']);

interface Blockdev {
  readonly node: string;
  readonly driver: string;
  readonly filename: string | null;
  readonly file: string | null;
  readonly discard: string | null;
}

interface CommandLine {
  readonly blockdevs: readonly Blockdev[];
  readonly devices: readonly { readonly driver: string; readonly drive: string | null }[];
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** An `.args` file: a shell command, one option a line, values in single quotes. */
function readArguments(content: string): string[] {
  const joined = content.replaceAll('\\\n', ' ');
  return [...joined.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
}

function readCommandLine(args: readonly string[]): CommandLine {
  const blockdevs: Blockdev[] = [];
  const devices: { driver: string; drive: string | null }[] = [];
  for (const [index, option] of args.entries()) {
    const value = args[index + 1] ?? '';
    if ((option !== '-blockdev' && option !== '-device') || !value.startsWith('{')) continue;
    const json = JSON.parse(value) as Record<string, unknown>;
    if (option === '-device') devices.push({ driver: text(json['driver']) ?? '', drive: text(json['drive']) });
    else
      blockdevs.push({
        node: text(json['node-name']) ?? '',
        driver: text(json['driver']) ?? '',
        filename: text(json['filename']),
        file: text(json['file']),
        discard: text(json['discard']),
      });
  }
  return { blockdevs, devices };
}

const devicesOfBus: Readonly<Record<string, RegExp>> = {
  virtio: /^virtio-blk|^vhost-user-blk/,
  scsi: /^scsi-/,
  sata: /^ide-/,
  ide: /^ide-/,
  usb: /^usb-storage/,
  fdc: /^floppy/,
  nvme: /^nvme/,
};

/** Block drivers that hand discards down to the one below (block/copy-on-read.c, block/throttle.c). */
const filters: readonly string[] = ['copy-on-read', 'throttle'];

/** The nodes of a disk: storage, format above it, and the device that drives the topmost. */
function findDisk(line: CommandLine, disk: DiskDescription): { format: Blockdev; device: string } | null {
  const storages = line.blockdevs.filter((node) => node.filename !== null && node.filename === disk.source);
  const ofBus = devicesOfBus[disk.bus ?? ''];
  for (const storage of storages) {
    let top = storage;
    let format = storage;
    for (let above = line.blockdevs.find((node) => node.file === top.node); above !== undefined;) {
      top = above;
      if (!filters.includes(above.driver)) format = above;
      above = line.blockdevs.find((node) => node.file === top.node);
    }
    const device = line.devices.find((candidate) => candidate.drive === top.node);
    // Some of these domains have one image on several disks: take the one that fits.
    if (device !== undefined && (storages.length === 1 || ofBus?.test(device.driver) === true)) return { format, device: device.driver };
  }
  return null;
}

const counts = { files: 0, unparsable: 0, compared: 0, disks: 0 };
const verdicts: Record<Verdict, number> = { ok: 0, warning: 0, blocks: 0, unknown: 0 };
const unknownByRule = new Map<string, number>();
const doubtful: string[] = [];
const machines = new Map<string, string>();

async function examine(directory: string, name: string, companions: readonly string[]): Promise<void> {
  counts.files += 1;
  let domain;
  try {
    domain = parseDomainXml(await readFile(path.join(directory, name), 'utf8'));
  } catch (thrown) {
    counts.unparsable += 1;
    if (companions.length > 0) doubtful.push(`${name}: ${toAppError(thrown).message}`);
    return;
  }
  const [companion] = companions;
  const args = companion === undefined ? null : readArguments(await readFile(path.join(directory, companion), 'utf8'));
  const version = /-(\d+\.\d+\.\d+|latest)\.args$/.exec(companion ?? '')?.[1];
  const qemu = version === undefined || version === 'latest' ? { major: 8, minor: 0, patch: 0 } : parseVersion(version);
  const line = args === null ? null : readCommandLine(args);
  for (const disk of domain.disks.filter(isTrimmable)) {
    counts.disks += 1;
    const findings = judgeXml({ domain, disk, qemu, machineTypes: [] });
    for (const finding of findings) {
      verdicts[finding.verdict] += 1;
      if (finding.rule === 'machine-type') machines.set(domain.machine ?? '(none)', finding.verdict);
      if (finding.verdict !== 'unknown') continue;
      unknownByRule.set(finding.rule, (unknownByRule.get(finding.rule) ?? 0) + 1);
      if (!notInTheXml.has(finding.rule)) doubtful.push(`${name} ${disk.target}: ${finding.rule} does not know: ${finding.evidence}`);
    }
    const real = line === null ? null : findDisk(line, disk);
    if (real === null) continue;
    counts.compared += 1;
    const said = (rule: string): Verdict | undefined => findings.find((finding) => finding.rule === rule)?.verdict;
    const passes = real.format.discard === 'unmap';
    const driver = said('driver-discard');
    if (driver !== undefined && (driver === 'ok') !== passes) {
      doubtful.push(`${name} ${disk.target}: driver-discard says ${driver}, QEMU gets discard=${real.format.discard ?? 'nothing'}`);
    }
    const bus = disk.bus ?? '?';
    if (devicesOfBus[bus]?.test(real.device) === false) doubtful.push(`${name} ${disk.target}: bus ${bus}, QEMU gets ${real.device}`);
    const format = said('image-format');
    const isDeaf = !['raw', 'qcow2', 'file', 'host_device'].includes(real.format.driver);
    if (format !== undefined && (format === 'blocks') !== isDeaf) {
      doubtful.push(`${name} ${disk.target}: image-format says ${format}, QEMU gets ${real.format.driver}`);
    }
  }
  const machine = args === null ? null : parseQemuArguments(args).machine;
  if (
    machine !== null &&
    domain.machine !== null &&
    machine !== domain.machine &&
    !/^(pc|q35|virt|pseries|s390-ccw-virtio)$/.test(domain.machine)
  ) {
    doubtful.push(`${name}: machine ${domain.machine} in the XML, ${machine} for QEMU`);
  }
}

for (const directory of process.argv.slice(2)) {
  const names = await readdir(directory);
  for (const name of names
    .filter((one) => one.endsWith('.xml') && !one.includes('-invalid') && !/\.[a-z0-9_]+-(latest|\d+\.\d+\.\d+)(\.\w+)?\.xml$/.test(one))
    .sort()) {
    const stem = name.slice(0, -4);
    const companions = names
      .filter((one) => one.startsWith(`${stem}.`) && one.endsWith('.args'))
      .sort()
      .toReversed();
    await examine(directory, name, companions);
  }
}
console.log(JSON.stringify({ ...counts, verdicts, unknownByRule: Object.fromEntries(unknownByRule), doubtful: doubtful.length }, null, 2));
console.log(
  `machine types: ${[...machines]
    .map(([name, verdict]) => `${name}=${verdict}`)
    .toSorted((a, b) => a.localeCompare(b))
    .join(' ')}`,
);
for (const one of doubtful) console.log(`doubtful: ${one}`);
