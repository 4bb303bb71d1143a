import type { Element } from '@xmldom/xmldom';
import { child, textOf } from './xml.ts';

/** Marks that cloud managers leave in a domain's XML. They own it: we read, trim and diagnose such a domain, and never rewrite it. */
const namespaces: readonly (readonly [RegExp, string])[] = [
  [/openstack\.org\/xmlns\/libvirt\/nova/, 'OpenStack Nova'],
  [/ovirt\.org\/vm/, 'oVirt'],
  [/kubevirt\.io/, 'KubeVirt'],
  [/cloudstack/i, 'CloudStack'],
  [/opennebula/i, 'OpenNebula'],
];

/** The manager's name, or null. Looks at the namespaces of the elements below `<metadata>` and at `<sysinfo>`'s product. */
export function findManager(domain: Element): string | null {
  const metadata = child(domain, 'metadata');
  for (let node = metadata?.firstChild ?? null; node !== null; node = node.nextSibling) {
    if (node.nodeType !== node.ELEMENT_NODE) continue;
    const uri = (node as Element).namespaceURI ?? '';
    for (const [pattern, name] of namespaces) if (pattern.test(uri)) return name;
  }
  const product = textOf(child(domain, 'sysinfo', 'system')) ?? '';
  return /CloudStack/.test(product) ? 'CloudStack' : null;
}
