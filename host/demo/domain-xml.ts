import { DOMImplementation, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import type { Disk } from './disk-image.ts';

/** An element as data; attributes that are undefined or null are left out. */
export interface XmlNode {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, string | number | null | undefined>>;
  readonly children?: readonly (XmlNode | null)[];
  readonly text?: string | number | undefined;
}

function toElement(document: Document, node: XmlNode): Element {
  const element = document.createElement(node.name);
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  if (node.text !== undefined) element.appendChild(document.createTextNode(String(node.text)));
  for (const child of node.children ?? []) if (child !== null) element.appendChild(toElement(document, child));
  return element;
}

/** A unix-socket channel; without a path libvirt chooses one below its own directory. */
export interface ChannelSpec {
  readonly name: string;
  readonly socket?: string | undefined;
}

export interface DomainSpec {
  readonly name: string;
  readonly uuid: string;
  readonly machine: string;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly console: string;
  readonly disks: readonly Disk[];
  readonly channels: readonly ChannelSpec[];
  /** Last word on the XML, for what the settings above do not know. */
  readonly edit?: ((domain: Element) => void) | undefined;
}

function diskNode(disk: Disk): XmlNode {
  const { spec } = disk;
  const block = spec.block === true;
  return {
    name: 'disk',
    attributes: { type: block ? 'block' : 'file', device: spec.cdrom === undefined ? 'disk' : 'cdrom' },
    children: [
      {
        name: 'driver',
        attributes: {
          name: 'qemu',
          type: disk.backingFile === null ? disk.format : 'qcow2',
          discard: spec.cdrom === undefined ? (spec.discard === undefined ? 'unmap' : spec.discard) : null,
          detect_zeroes: spec.detectZeroes,
        },
      },
      disk.source === null ? null : { name: 'source', attributes: { [block ? 'dev' : 'file']: disk.source } },
      { name: 'target', attributes: { dev: disk.target, bus: spec.bus ?? 'virtio' } },
      spec.readonly === true || spec.cdrom !== undefined ? { name: 'readonly' } : null,
      spec.shareable === true ? { name: 'shareable' } : null,
      spec.serial === undefined ? null : { name: 'serial', text: spec.serial },
    ],
  };
}

function channelNode(channel: ChannelSpec): XmlNode {
  return {
    name: 'channel',
    attributes: { type: 'unix' },
    children: [
      channel.socket === undefined ? null : { name: 'source', attributes: { mode: 'bind', path: channel.socket } },
      { name: 'target', attributes: { type: 'virtio', name: channel.name } },
    ],
  };
}

/** A small emulated machine: software emulation (TCG), so that it runs everywhere and the same everywhere. */
export function buildDomainXml(spec: DomainSpec): string {
  const usesScsi = spec.disks.some((disk) => disk.spec.bus === 'scsi');
  const domain: XmlNode = {
    name: 'domain',
    attributes: { type: 'qemu' },
    children: [
      { name: 'name', text: spec.name },
      { name: 'uuid', text: spec.uuid },
      { name: 'memory', attributes: { unit: 'MiB' }, text: spec.memoryMiB },
      { name: 'vcpu', text: 1 },
      {
        name: 'os',
        children: [
          { name: 'type', attributes: { arch: 'x86_64', machine: spec.machine }, text: 'hvm' },
          { name: 'kernel', text: spec.kernel },
          { name: 'initrd', text: spec.initrd },
          { name: 'cmdline', text: spec.commandLine },
        ],
      },
      { name: 'features', children: [{ name: 'acpi' }] },
      {
        name: 'devices',
        children: [
          usesScsi ? { name: 'controller', attributes: { type: 'scsi', model: 'virtio-scsi' } } : null,
          ...spec.disks.map(diskNode),
          ...spec.channels.map(channelNode),
          { name: 'serial', attributes: { type: 'file' }, children: [{ name: 'source', attributes: { path: spec.console } }] },
          { name: 'memballoon', attributes: { model: 'none' } },
        ],
      },
    ],
  };
  const document = new DOMImplementation().createDocument(null, '');
  const root = toElement(document, domain);
  document.appendChild(root);
  spec.edit?.(root);
  return new XMLSerializer().serializeToString(document);
}
