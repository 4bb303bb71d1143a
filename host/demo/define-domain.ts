import { chmod, mkdir, writeFile } from 'node:fs/promises';
import type { Element } from '@xmldom/xmldom';
import { keepCapabilities } from './capabilities.ts';
import { buildDomainXml, type ChannelSpec } from './domain-xml.ts';
import { channelSocket, Guest, type GuestParts } from './guest.ts';
import type { Hypervisor } from './hypervisor.ts';

export interface DomainParts extends GuestParts {
  readonly machine: string | undefined;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly channels: readonly ChannelSpec[];
  readonly edit: ((domain: Element) => void) | undefined;
}

/** The folder below which a guest's images, kernel and XML lie; made where it is missing. */
export async function imageDirectory(hypervisor: Hypervisor, uuid: string): Promise<string> {
  const directory = hypervisor.path('images', uuid);
  await mkdir(directory, { recursive: true });
  return directory;
}

/** The ports of a guest's XML, the control port among them. */
export function guestChannels(hypervisor: Hypervisor, uuid: string, ports: { agent: boolean; scripted: boolean }): ChannelSpec[] {
  const channels: ChannelSpec[] = ports.agent ? [{ name: 'org.qemu.guest_agent.0' }] : [];
  channels.push({ name: 'virt-trim.rig.0', socket: channelSocket(hypervisor, uuid, 'rig') });
  if (ports.scripted) channels.push({ name: 'virt-trim.agent.0', socket: channelSocket(hypervisor, uuid, 'agent') });
  return channels;
}

/** Defines a domain whose images are there. It is off. */
export async function defineDomain(hypervisor: Hypervisor, parts: DomainParts): Promise<Guest> {
  const consoles = hypervisor.path('console');
  await mkdir(consoles, { recursive: true });
  await chmod(consoles, 0o1777); // QEMU's own user writes there
  const xml = buildDomainXml({
    ...parts,
    machine: parts.machine ?? (parts.disks.some((disk) => disk.spec.bus === 'ide') ? 'pc' : 'q35'),
    console: `${consoles}/${parts.uuid}.log`,
  });
  const file = `${await imageDirectory(hypervisor, parts.uuid)}/domain.xml`;
  await writeFile(file, xml);
  const guest = new Guest(hypervisor, parts);
  await guest.virsh('define', file);
  await keepCapabilities(hypervisor.path('cache'));
  return guest;
}
