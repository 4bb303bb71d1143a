import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createProgram } from '../../../host/cli.ts';
import { adapters, printAdapter } from '../../../host/hook/adapters.ts';
import { readCaller } from '../../../host/hook/options.ts';

/** Every `virt-trim …` command in a snippet, as words. */
function commandsOf(snippet: string): string[][] {
  return [...snippet.replaceAll('"$domain"', 'db1').matchAll(/virt-trim ((?:-q )?(?:hook|recover)[^\n"'<&|;]*)/g)].map((match) =>
    (match[1] ?? '').trim().split(/\s+/),
  );
}

/** Whether our own command line takes these words. */
async function accepts(words: readonly string[]): Promise<boolean> {
  let performed = false;
  const program = createProgram(() => {
    performed = true;
    return Promise.resolve();
  });
  const all = [program, ...program.commands, ...program.commands.flatMap((command) => [...command.commands])];
  for (const command of all) command.exitOverride().configureOutput({ writeErr: () => undefined });
  await program.parseAsync(['node', 'virt-trim', ...words]).catch(() => undefined);
  return performed;
}

it.each(adapters.map((adapter) => [adapter.name, adapter] as const))(
  '%s: every command in it is one that we have',
  async (_name, adapter) => {
    const commands = commandsOf(adapter.snippet);
    expect(commands.length).toBeGreaterThan(0);
    for (const words of commands) expect(await accepts(words), words.join(' ')).toBe(true);
  },
);

it('would notice an option that we do not have', async () => {
  expect(await accepts(['hook', 'post', '--no-such-option', 'db1'])).toBe(false);
});

it.each(['borgmatic', 'borgmatic-2', 'resticprofile'])('%s: is YAML', (name) => {
  const snippet = adapters.find((adapter) => adapter.name === name)?.snippet ?? '';
  for (const document of parseAllDocuments(snippet)) expect('errors' in document ? document.errors : []).toEqual([]);
});

it('prints one by name, and the names without', () => {
  const printed: string[] = [];
  const out = (text: string): void => void printed.push(text);
  printAdapter({ out }, 'sanoid');
  expect(printed.join('')).toContain('script_timeout');
  printed.length = 0;
  printAdapter({ out }, undefined);
  expect(printed).toHaveLength(adapters.length);
  expect(() => printAdapter({ out }, 'nosuch')).toThrow(/no adapter/);
});

it('takes a caller only as one plain word', () => {
  expect(readCaller(undefined)).toBe('hook');
  expect(() => readCaller('a b')).toThrow(/one word/);
  expect(() => readCaller('a\nid=1')).toThrow(/one word/);
});
