import type { Element, Node } from '@xmldom/xmldom';
import { parseXml } from '../../libvirt/xml.ts';

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;').replaceAll('\n', '&#10;');
}

/** Text that means something stands in elements without children; the rest is libvirt's indentation. */
function ownText(element: Element): string {
  return escape((element.textContent ?? '').trim());
}

function elementsOf(element: Element): Element[] {
  const found: Element[] = [];
  for (let node: Node | null = element.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === node.ELEMENT_NODE) found.push(node as Element);
  }
  return found;
}

/**
 * libvirt keeps controllers in an order of its own and moves those that it added itself when an XML is defined again (9.0: run). What
 * names a controller is its type and index, so their order means nothing.
 */
function inOrder(element: Element): Element[] {
  const below = elementsOf(element);
  if (element.nodeName !== 'devices') return below;
  const key = (controller: Element): string =>
    `${controller.getAttribute('type') ?? ''} ${(controller.getAttribute('index') ?? '').padStart(6, '0')}`;
  const controllers = below.filter((one) => one.nodeName === 'controller').sort((a, b) => (key(a) < key(b) ? -1 : 1));
  return [...below.filter((one) => one.nodeName !== 'controller'), ...controllers];
}

function openTag(element: Element): string {
  const attributes = Array.from(element.attributes)
    .map(({ name, value }) => `${name}="${escape(value)}"`)
    .sort();
  return [element.nodeName, ...attributes].join(' ');
}

/**
 * One line per element, attributes in order of their names, controllers in order of theirs, indentation and comments gone: two texts of the same domain are equal, and
 * a difference is a line of it.
 */
export function canonicalLines(text: string): string[] {
  const lines: string[] = [];
  const visit = (element: Element, depth: number): void => {
    const below = inOrder(element);
    const indent = '  '.repeat(depth);
    if (below.length === 0) {
      const content = ownText(element);
      lines.push(content === '' ? `${indent}<${openTag(element)}/>` : `${indent}<${openTag(element)}>${content}</${element.nodeName}>`);
      return;
    }
    lines.push(`${indent}<${openTag(element)}>`);
    for (const child of below) visit(child, depth + 1);
    lines.push(`${indent}</${element.nodeName}>`);
  };
  visit(parseXml(text, 'domain XML'), 0);
  return lines;
}

export function isSameXml(a: string, b: string): boolean {
  return canonicalLines(a).join('\n') === canonicalLines(b).join('\n');
}
