import { writeFile } from 'node:fs/promises';
import { DOMImplementation, XMLSerializer } from '@xmldom/xmldom';

export interface TestDomain {
  readonly name: string;
  readonly off?: boolean;
}

/** Names that have broken tools. The domain called `1` is off, and another one has the id 1. */
export const hostileDomains: readonly TestDomain[] = [
  { name: '-x' },
  { name: 'it\'s; "x" $(id) `id` <&>' },
  { name: ' odd ' },
  { name: 'ünïcödé' },
  { name: 'all' },
  { name: '1', off: true },
];

const testNamespace = 'http://libvirt.org/schemas/domain/test/1.0';

/** A host of libvirt's test driver with these domains: every virsh process has its own copy. @returns its connection URI. */
export async function writeTestNode(file: string, domains: readonly TestDomain[]): Promise<string> {
  const document = new DOMImplementation().createDocument(null, 'node');
  const root = document.documentElement;
  if (root === null) throw new Error('no root');
  for (const [index, domain] of domains.entries()) {
    const element = document.createElement('domain');
    root.appendChild(element);
    element.setAttribute('type', 'test');
    const add = (name: string, text: string): void => {
      element.appendChild(document.createElement(name)).appendChild(document.createTextNode(text));
    };
    add('name', domain.name);
    add('uuid', `${String(index + 1).padStart(8, '0')}-0000-4000-8000-000000000000`);
    add('memory', '8192');
    const os = document.createElement('os');
    element.appendChild(os);
    os.appendChild(document.createElement('type')).appendChild(document.createTextNode('hvm'));
    if (domain.off === true) {
      element.setAttribute('xmlns:test', testNamespace);
      element.appendChild(document.createElementNS(testNamespace, 'test:runstate')).appendChild(document.createTextNode('5'));
    }
  }
  await writeFile(file, new XMLSerializer().serializeToString(document));
  return `test://${file}`;
}
