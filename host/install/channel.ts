import { writeFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Connection } from '../libvirt/connection.ts';
import { parseXml } from '../libvirt/xml.ts';
import { readChannelRoom, type ChannelRoom } from './channel-room.ts';
import { channelElement, channelXml } from './device-xml.ts';

/** The channel in the two XMLs of a domain; null for one that the domain does not have. */
export interface ChannelFacts {
  readonly live: ChannelRoom | null;
  /** Null for a transient domain. */
  readonly persistent: ChannelRoom | null;
}

export interface DomainXmls {
  /** Null while it is off. */
  readonly live: string | null;
  /** With passwords (`--security-info`): never shown, never logged. Null for a transient domain. */
  readonly inactive: string | null;
  readonly hasManagedSave: boolean;
}

/**
 * Reads both XMLs. `--inactive` of a transient domain answers with the live one, so persistence is asked first.
 * @throws AppError as Connection.run does.
 */
export async function readXmls(connection: Connection, uuid: string, running: boolean, signal?: AbortSignal): Promise<DomainXmls> {
  const info = await connection.run(['dominfo', uuid], { signal });
  const persistent = /^Persistent:\s+yes\s*$/m.test(info);
  return {
    hasManagedSave: /^Managed save:\s+yes\s*$/m.test(info),
    live: running ? await connection.run(['dumpxml', uuid], { signal }) : null,
    inactive: persistent ? await connection.run(['dumpxml', uuid, '--inactive', '--security-info'], { signal }) : null,
  };
}

export function channelFacts(xmls: DomainXmls): ChannelFacts {
  return {
    live: xmls.live === null ? null : readChannelRoom(parseXml(xmls.live, 'virsh dumpxml')),
    persistent: xmls.inactive === null ? null : readChannelRoom(parseXml(xmls.inactive, 'virsh dumpxml --inactive')),
  };
}

/** Hands virsh an XML text as the file it wants; the file is ours alone and gone afterwards. */
export async function withXmlFile<T>(directory: string, xml: string, work: (file: string) => Promise<T>): Promise<T> {
  const file = path.join(directory, `device-${randomBytes(4).toString('hex')}.xml`);
  await writeFile(file, xml, { mode: 0o600, flag: 'wx' });
  try {
    return await work(file);
  } finally {
    await rm(file, { force: true });
  }
}

/** Plugs the channel into one of the two XMLs. @throws AppError what libvirt says, where it refuses. */
export async function attachChannel(connection: Connection, uuid: string, to: 'live' | 'config', directory: string): Promise<void> {
  await withXmlFile(directory, channelXml(), (file) => connection.run(['attach-device', uuid, file, `--${to}`], { timeoutMs: 30_000 }));
}

/**
 * Takes it out again: libvirt finds it by the whole element, address and all, as it stands in that XML. No channel there is fine.
 * QEMU unplugs a port at once, whether or not the guest holds it open.
 */
export async function detachChannel(connection: Connection, uuid: string, from: 'live' | 'config', directory: string): Promise<void> {
  const flags = from === 'config' ? ['--inactive', '--security-info'] : [];
  const element = channelElement(await connection.run(['dumpxml', uuid, ...flags]));
  if (element === null) return;
  await withXmlFile(directory, element, (file) => connection.run(['detach-device', uuid, file, `--${from}`], { timeoutMs: 30_000 }));
}

/** Puts a persistent XML back exactly as it was read. */
export async function restoreXml(connection: Connection, inactive: string, directory: string): Promise<void> {
  await withXmlFile(directory, inactive, (file) => connection.run(['define', file], { timeoutMs: 30_000 }));
}
