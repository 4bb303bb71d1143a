import { XMLSerializer, type Element } from '@xmldom/xmldom';
import { AppError } from '../../../shared/errors.ts';
import { attribute, child, children, parseXml } from '../../libvirt/xml.ts';

/** One announced change of a domain's XML. */
export interface XmlEdit {
  readonly apply: (domain: Element) => void;
}

function diskElement(domain: Element, target: string): Element {
  const disks = child(domain, 'devices') === undefined ? [] : children(child(domain, 'devices') as Element, 'disk');
  const found = disks.filter((disk) => attribute(child(disk, 'target'), 'dev') === target);
  if (found.length !== 1 || found[0] === undefined) throw new AppError('internal', `${found.length} disks are called ${target}`);
  return found[0];
}

function childOrNew(parent: Element, name: string): Element {
  const existing = child(parent, name);
  if (existing !== undefined) return existing;
  const created = parent.ownerDocument?.createElement(name);
  if (created === undefined || created === null) throw new AppError('internal', 'an XML element without a document');
  parent.insertBefore(created, parent.firstChild);
  return created;
}

/** Sets an attribute of the disk's `<driver>`. */
export function setDriver(target: string, name: string, value: string): XmlEdit {
  return {
    apply: (domain) => {
      const driver = childOrNew(diskElement(domain, target), 'driver');
      if (!driver.hasAttribute('name')) driver.setAttribute('name', 'qemu');
      driver.setAttribute(name, value);
    },
  };
}

export function setGranularity(target: string, bytes: number): XmlEdit {
  return { apply: (domain) => childOrNew(diskElement(domain, target), 'blockio').setAttribute('discard_granularity', String(bytes)) };
}

export function setMachine(machine: string): XmlEdit {
  return {
    apply: (domain) => {
      const type = child(domain, 'os', 'type');
      if (type === undefined) throw new AppError('internal', 'the domain XML has no <os><type>');
      type.setAttribute('machine', machine);
    },
  };
}

/** The XML with the edits made. */
export function editXml(text: string, edits: readonly XmlEdit[]): string {
  const root = parseXml(text, 'virsh dumpxml');
  for (const edit of edits) edit.apply(root);
  return new XMLSerializer().serializeToString(root);
}
