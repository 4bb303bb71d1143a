import type { Element } from '@xmldom/xmldom';
import { attribute, child, children, parseXml, textOf } from './xml.ts';
import { findManager } from './manager.ts';

/** One layer of a disk's chain, as the XML names it; never what the image's own header claims. */
export interface ImageLayer {
  /** file, block, network, volume, nvme, vhostuser, dir */
  readonly type: string;
  /** Path for file and block, `protocol:name` for network, `pool/volume` for a volume; null for an empty drive. */
  readonly source: string | null;
  readonly format: string | null;
}

export interface DiskDescription extends ImageLayer {
  /** Unique within the domain: `vda`. */
  readonly target: string;
  readonly bus: string | null;
  /** disk, cdrom, floppy, lun */
  readonly device: string;
  readonly protocol: string | null;
  readonly discard: string | null;
  readonly detectZeroes: string | null;
  readonly discardNoUnref: string | null;
  /** `luks` or `qcow` where libvirt encrypts the image (`<encryption format=…>`). */
  readonly encryption: string | null;
  /** `<blockio>`, bytes. */
  readonly discardGranularity: number | null;
  readonly readonly: boolean;
  readonly shareable: boolean;
  readonly transient: boolean;
  readonly serial: string | null;
  readonly alias: string | null;
  /** pci: `0000:00:04.0`; drive: `controller:bus:target:unit`. For matching the guest's answers to a disk. */
  readonly address: { readonly type: string; readonly text: string } | null;
  /** Only in live XML, nearest first. */
  readonly backing: readonly ImageLayer[];
  /** A copy or commit job in progress (`<mirror job=…>`). */
  readonly mirrorJob: string | null;
}

/** `configured`: the XML of a domain that is off, which has no state. */
export type ChannelState = 'absent' | 'disconnected' | 'connected' | 'configured';

/** What we need of a domain's XML (https://libvirt.org/formatdomain.html). */
export interface DomainDescription {
  readonly uuid: string;
  readonly name: string;
  /** Only while it runs. */
  readonly id: number | null;
  /** kvm, qemu, xen, … */
  readonly type: string;
  readonly arch: string | null;
  readonly machine: string | null;
  /** The QEMU binary that the XML asks for. */
  readonly emulator: string | null;
  /** `<qemu:commandline>`: arguments that somebody passes past libvirt. */
  readonly qemuArguments: readonly string[];
  readonly channel: ChannelState;
  readonly disks: readonly DiskDescription[];
  /** Who owns this XML, where somebody does: never rewrite it then. */
  readonly manager: string | null;
  /** Attributes of our own metadata elements, keyed by element name. */
  readonly metadata: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Namespace of everything that we keep in a domain's `<metadata>`. */
export const metadataNamespace = 'https://virt-trim.org/xmlns/domain/1';
const agentChannelName = 'org.qemu.guest_agent.0';

function sourceText(type: string, source: Element | undefined): string | null {
  if (source === undefined) return null;
  switch (type) {
    case 'file':
      return attribute(source, 'file');
    case 'block':
      return attribute(source, 'dev');
    case 'dir':
      return attribute(source, 'dir');
    case 'network':
      return `${attribute(source, 'protocol') ?? '?'}:${attribute(source, 'name') ?? ''}`;
    case 'volume':
      return `${attribute(source, 'pool') ?? '?'}/${attribute(source, 'volume') ?? '?'}`;
    default:
      return attribute(source, 'path') ?? attribute(source, 'dev');
  }
}

function readBacking(disk: Element): ImageLayer[] {
  const layers: ImageLayer[] = [];
  for (let store = child(disk, 'backingStore'); store !== undefined; store = child(store, 'backingStore')) {
    const type = attribute(store, 'type');
    if (type === null) break; // an empty <backingStore/> ends the chain
    layers.push({ type, source: sourceText(type, child(store, 'source')), format: attribute(child(store, 'format'), 'type') });
  }
  return layers;
}

function readAddress(disk: Element): DiskDescription['address'] {
  const element = child(disk, 'address');
  const type = attribute(element, 'type');
  if (element === undefined || type === null) return null;
  const hex = (name: string, width: number) =>
    Number(attribute(element, name) ?? 0)
      .toString(16)
      .padStart(width, '0');
  if (type === 'pci') return { type, text: `${hex('domain', 4)}:${hex('bus', 2)}:${hex('slot', 2)}.${hex('function', 1)}` };
  if (type === 'drive')
    return { type, text: ['controller', 'bus', 'target', 'unit'].map((name) => attribute(element, name) ?? '0').join(':') };
  return { type, text: '' };
}

function readDisk(disk: Element): DiskDescription {
  const type = attribute(disk, 'type') ?? 'file';
  const driver = child(disk, 'driver');
  const source = child(disk, 'source');
  const granularity = attribute(child(disk, 'blockio'), 'discard_granularity');
  return {
    target: attribute(child(disk, 'target'), 'dev') ?? '?',
    bus: attribute(child(disk, 'target'), 'bus'),
    device: attribute(disk, 'device') ?? 'disk',
    type,
    source: sourceText(type, source),
    protocol: type === 'network' ? attribute(source, 'protocol') : null,
    format: attribute(driver, 'type'),
    discard: attribute(driver, 'discard'),
    detectZeroes: attribute(driver, 'detect_zeroes'),
    discardNoUnref: attribute(driver, 'discard_no_unref'),
    encryption: attribute(child(disk, 'encryption') ?? (source === undefined ? undefined : child(source, 'encryption')), 'format'),
    discardGranularity: granularity === null ? null : Number(granularity),
    readonly: child(disk, 'readonly') !== undefined,
    shareable: child(disk, 'shareable') !== undefined,
    transient: child(disk, 'transient') !== undefined,
    serial: textOf(child(disk, 'serial')),
    alias: attribute(child(disk, 'alias'), 'name'),
    address: readAddress(disk),
    backing: readBacking(disk),
    mirrorJob: attribute(child(disk, 'mirror'), 'job'),
  };
}

function readChannel(devices: Element | undefined, running: boolean): ChannelState {
  for (const channel of devices === undefined ? [] : children(devices, 'channel')) {
    const target = child(channel, 'target');
    if (attribute(target, 'name') !== agentChannelName || attribute(target, 'type') !== 'virtio') continue;
    if (!running) return 'configured';
    return attribute(target, 'state') === 'connected' ? 'connected' : 'disconnected';
  }
  return 'absent';
}

const qemuNamespace = 'http://libvirt.org/schemas/domain/qemu/1.0';

function readQemuArguments(root: Element): string[] {
  const element = child(root, 'commandline');
  if (element === undefined || element.namespaceURI !== qemuNamespace) return [];
  return children(element, 'arg').flatMap((argument) => attribute(argument, 'value') ?? []);
}

function readMetadata(metadata: Element | undefined): DomainDescription['metadata'] {
  const result: Record<string, Record<string, string>> = {};
  for (let node = metadata?.firstChild ?? null; node !== null; node = node.nextSibling) {
    if (node.nodeType !== node.ELEMENT_NODE) continue;
    const element = node as Element;
    if (!element.namespaceURI?.startsWith(metadataNamespace)) continue;
    const values: Record<string, string> = {};
    for (const { name, value } of Array.from(element.attributes)) if (!name.startsWith('xmlns')) values[name] = value;
    result[element.localName ?? ''] = values;
  }
  return result;
}

/** Reads `virsh dumpxml`. @throws AppError `tool-failed` where it is not a domain. */
export function parseDomainXml(text: string): DomainDescription {
  const root = parseXml(text, 'virsh dumpxml');
  const id = attribute(root, 'id');
  const devices = child(root, 'devices');
  const osType = child(root, 'os', 'type');
  return {
    uuid: textOf(child(root, 'uuid')) ?? '',
    name: child(root, 'name')?.textContent ?? '', // as it is: libvirt allows spaces at its ends
    id: id === null ? null : Number(id),
    type: attribute(root, 'type') ?? '?',
    arch: attribute(osType, 'arch'),
    machine: attribute(osType, 'machine'),
    emulator: devices === undefined ? null : textOf(child(devices, 'emulator')),
    qemuArguments: readQemuArguments(root),
    channel: readChannel(devices, id !== null),
    disks: (devices === undefined ? [] : children(devices, 'disk')).map(readDisk),
    manager: findManager(root),
    metadata: readMetadata(child(root, 'metadata')),
  };
}
