import { access } from 'node:fs/promises';
import { toAppError } from '../../../shared/errors.ts';
import type { VirshAnswer } from '../../libvirt/connection.ts';
import { attribute, child, children, parseXml, textOf } from '../../libvirt/xml.ts';
import type { HostFacts } from '../facts.ts';
import { parseVersion, type Version } from '../version.ts';

/** The commands whose answers `readHost` wants, in that order. */
export const hostCommands: readonly (readonly string[])[] = [['version', '--daemon'], ['capabilities']];

/** Reads `virsh version --daemon`. */
export function parseVersions(text: string): { libvirt: Version | null; qemu: Version | null } {
  const daemon = /^Running against daemon: (.*)$/m.exec(text)?.[1];
  const hypervisor = /^Running hypervisor: QEMU (.*)$/m.exec(text)?.[1];
  return { libvirt: daemon === undefined ? null : parseVersion(daemon), qemu: hypervisor === undefined ? null : parseVersion(hypervisor) };
}

/** Reads `virsh capabilities`: the machine types by architecture, aliases left out. */
export function parseMachineTypes(text: string): Map<string, string[]> {
  const types = new Map<string, string[]>();
  for (const guest of children(parseXml(text, 'virsh capabilities'), 'guest')) {
    const arch = child(guest, 'arch');
    const name = attribute(arch, 'name');
    if (arch === undefined || name === null) continue;
    const machines = [arch, ...children(arch, 'domain')].flatMap((element) => children(element, 'machine'));
    const real = machines.filter((machine) => attribute(machine, 'canonical') === null && attribute(machine, 'deprecated') !== 'yes');
    types.set(name, [...new Set(real.flatMap((machine) => textOf(machine) ?? []))]);
  }
  return types;
}

/** What can be known of the host from those answers. What libvirt would not say is unknown. */
export async function readHost(answers: readonly (VirshAnswer | undefined)[], isLocal: boolean): Promise<HostFacts> {
  const [version, capabilities] = answers;
  const { libvirt, qemu } = version?.ok === true ? parseVersions(version.stdout) : { libvirt: null, qemu: null };
  return {
    isLocal,
    libvirt,
    qemu,
    machineTypes: capabilities?.ok === true ? readTypes(capabilities.stdout) : new Map(),
    daemon: await daemonKind(isLocal),
  };
}

function readTypes(text: string): Map<string, string[]> {
  try {
    return parseMachineTypes(text);
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'tool-failed') throw error;
    return new Map();
  }
}

/** libvirt's own places for its sockets (libvirt.org/daemons.html). */
async function daemonKind(isLocal: boolean): Promise<HostFacts['daemon']> {
  if (!isLocal) return 'unknown';
  const there = async (file: string): Promise<boolean> =>
    access(file).then(
      () => true,
      () => false,
    );
  if (await there('/run/libvirt/virtqemud-sock')) return 'modular';
  return (await there('/run/libvirt/libvirt-sock')) ? 'monolithic' : 'unknown';
}
