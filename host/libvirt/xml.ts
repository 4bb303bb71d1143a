import { DOMParser, onErrorStopParsing, type Document, type Element } from '@xmldom/xmldom';
import { AppError } from '../../shared/errors.ts';

/** Parses what libvirt printed. @throws AppError `tool-failed` for text that is not well-formed or has a doctype. */
export function parseXml(text: string, what: string): Element {
  let document: Document;
  try {
    document = new DOMParser({ onError: onErrorStopParsing }).parseFromString(text, 'text/xml');
  } catch (cause) {
    throw new AppError('tool-failed', `${what}: libvirt returned XML that cannot be parsed`, { cause });
  }
  if (document.doctype !== null) throw new AppError('tool-failed', `${what}: XML with a document type is not accepted`);
  const root = document.documentElement;
  if (root === null) throw new AppError('tool-failed', `${what}: empty XML`);
  return root;
}

/** The element's own children with that local name, in order. */
export function children(element: Element, name: string): Element[] {
  const found: Element[] = [];
  for (let node = element.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === node.ELEMENT_NODE && (node as Element).localName === name) found.push(node as Element);
  }
  return found;
}

/** Follows child names down, the first match at each step. */
export function child(element: Element, ...path: string[]): Element | undefined {
  let current: Element | undefined = element;
  for (const name of path) current = current === undefined ? undefined : children(current, name)[0];
  return current;
}

export function attribute(element: Element | undefined, name: string): string | null {
  return element?.getAttribute(name) ?? null;
}

export function textOf(element: Element | undefined): string | null {
  return element?.textContent?.trim() ?? null;
}
