import { parseSync } from 'oxc-parser';

/** A node of the syntax tree as far as it is looked at here. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** Name of the byte array that libFuzzer reads as extra coverage. */
const counters = '__c';

/**
 * Counts, in a script, every way that control can take: blocks, branches without a block, cases, the sides of `?:`, `&&`, `||` and
 * `??`. Without it the fuzzer would see only the interpreter's coverage, which is the same for any script.
 */
export function instrument(script: string): { readonly text: string; readonly points: number } {
  const { program, errors } = parseSync('bundle.js', script);
  if (errors.length > 0) throw new Error(`cannot instrument: ${errors[0]?.message}`);
  const insertions: { readonly at: number; readonly text: string }[] = [];
  let points = 0;
  const count = (): string => `${counters}[${points++}]++`;
  const statement = (node: Node): void => {
    if (node.type === 'BlockStatement') insertions.push({ at: node.start + 1, text: `${count()};` });
    else insertions.push({ at: node.start, text: `{${count()};` }, { at: node.end, text: '}' });
  };
  const expression = (node: Node): void => {
    insertions.push({ at: node.start, text: `(${count()},` }, { at: node.end, text: ')' });
  };
  visit(program, (node) => {
    for (const child of statementsOf(node)) statement(child);
    for (const child of expressionsOf(node)) expression(child);
    if (node.type === 'SwitchCase') {
      const first = (node as unknown as { consequent: Node[] }).consequent[0];
      if (first !== undefined) insertions.push({ at: first.start, text: `${count()};` });
    }
  });
  // A variable of the function is quicker than one of the global object.
  return { text: apply(script, insertions).replace('(() => {', `(() => {const ${counters}=globalThis.${counters};`), points };
}

function statementsOf(node: Node): Node[] {
  const at = node as unknown as Record<string, Node | null | undefined>;
  switch (node.type) {
    case 'IfStatement':
      return present(at['consequent'], at['alternate']?.type === 'IfStatement' ? undefined : at['alternate']);
    case 'ForStatement':
    case 'ForOfStatement':
    case 'ForInStatement':
    case 'WhileStatement':
    case 'DoWhileStatement':
    case 'CatchClause':
    case 'FunctionDeclaration':
    case 'FunctionExpression':
      return present(at['body']);
    case 'ArrowFunctionExpression':
      return at['body']?.type === 'BlockStatement' ? present(at['body']) : [];
    case 'TryStatement':
      return present(at['block'], at['finalizer']);
    default:
      return [];
  }
}

function expressionsOf(node: Node): Node[] {
  const at = node as unknown as Record<string, Node | null | undefined>;
  if (node.type === 'ConditionalExpression') return present(at['consequent'], at['alternate']);
  if (node.type === 'LogicalExpression') return present(at['right']);
  return node.type === 'ArrowFunctionExpression' && at['body']?.type !== 'BlockStatement' ? present(at['body']) : [];
}

function present(...nodes: readonly (Node | null | undefined)[]): Node[] {
  return nodes.filter((node): node is Node => node !== null && node !== undefined);
}

function visit(value: unknown, found: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) visit(item, found);
  } else if (typeof value === 'object' && value !== null) {
    if ('type' in value && 'start' in value) found(value as Node);
    for (const child of Object.values(value)) visit(child, found);
  }
}

/** Inner insertions at one place close before outer ones, and open after them. */
function apply(script: string, insertions: readonly { readonly at: number; readonly text: string }[]): string {
  const opening = insertions.filter((it) => it.text !== '}' && it.text !== ')');
  const closing = insertions.filter((it) => it.text === '}' || it.text === ')').toReversed();
  const sorted = [...closing, ...opening].map((it, order) => ({ ...it, order })).sort((a, b) => a.at - b.at || a.order - b.order);
  let text = '';
  let from = 0;
  for (const { at, text: inserted } of sorted) {
    text += script.slice(from, at) + inserted;
    from = at;
  }
  return text + script.slice(from);
}
