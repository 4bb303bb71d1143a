import { DOMImplementation, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import { attribute, child, children, parseXml } from '../libvirt/xml.ts';

/** libvirt and qemu-ga agree on this name (formatdomain.html, "Channel"). */
export const agentChannelName = 'org.qemu.guest_agent.0';

type Attributes = Readonly<Record<string, string>>;

function serialize(document: Document, root: Element): string {
  document.appendChild(root);
  return new XMLSerializer().serializeToString(document);
}

function make(document: Document, name: string, attributes: Attributes, ...children: Element[]): Element {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  for (const child of children) element.appendChild(child);
  return element;
}

/** The agent's channel; libvirt chooses socket, controller and port. */
export function channelXml(): string {
  const document = new DOMImplementation().createDocument(null, '');
  const source = make(document, 'source', { mode: 'bind' });
  const target = make(document, 'target', { type: 'virtio', name: agentChannelName });
  return serialize(document, make(document, 'channel', { type: 'unix' }, source, target));
}

/** The channel's element as it stands in a domain's XML, or null. */
export function channelElement(domainXml: string): string | null {
  const devices = child(parseXml(domainXml, 'virsh dumpxml'), 'devices');
  const found = (devices === undefined ? [] : children(devices, 'channel')).find(isAgentChannel);
  return found === undefined ? null : new XMLSerializer().serializeToString(found);
}

export function isAgentChannel(channel: Element): boolean {
  const target = child(channel, 'target');
  return attribute(target, 'type') === 'virtio' && attribute(target, 'name') === agentChannelName;
}

export interface ImageDevice {
  readonly file: string;
  /** `cdrom` in a drive, or a read-only `disk` where no drive can be added to a running machine. */
  readonly device: 'cdrom' | 'disk';
  readonly target: string;
  readonly bus: string;
}

/** A read-only ISO file as a device of the domain. */
export function imageDeviceXml(image: ImageDevice): string {
  const document = new DOMImplementation().createDocument(null, '');
  const disk = make(
    document,
    'disk',
    { type: 'file', device: image.device },
    make(document, 'driver', { name: 'qemu', type: 'raw' }),
    make(document, 'source', { file: image.file }),
    make(document, 'target', { dev: image.target, bus: image.bus }),
    make(document, 'readonly', {}),
  );
  return serialize(document, disk);
}
