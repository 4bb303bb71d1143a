import { describe, expect, it } from 'vitest';
import { composeBatches, quoteWord, splitBatch } from '../../../host/libvirt/batch.ts';

const nonce = 'Ab3xY9';
const maxArgumentBytes = 128 * 1024 - 1;

/** virsh's own tokenizer, as virsh(1) and tools/vsh.c describe it: `;` ends a command outside of quotes, `'…'` is literal, `\` escapes. */
function tokenize(text: string): string[][] {
  const commands: string[][] = [];
  let words: string[] = [];
  let word = '';
  let inWord = false;
  const endWord = (): void => {
    if (inWord) words.push(word);
    word = '';
    inWord = false;
  };
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] ?? '';
    if (char === "'") {
      const end = text.indexOf("'", index + 1);
      word += text.slice(index + 1, end);
      inWord = true;
      index = end;
    } else if (char === '\\') {
      word += text[(index += 1)] ?? '';
      inWord = true;
    } else if (char === ';' || char === '\n') {
      endWord();
      if (words.length > 0) commands.push(words);
      words = [];
    } else if (char === ' ' || char === '\t') endWord();
    else {
      word += char;
      inWord = true;
    }
  }
  endWord();
  if (words.length > 0) commands.push(words);
  return commands;
}

describe('quoteWord', () => {
  it.each([
    'plain',
    '-x',
    "it's",
    "''",
    'a b',
    'a;b',
    'a\nb',
    '"quoted"',
    '\\',
    '$(reboot)',
    '`id`',
    '#comment',
    '',
    '{"execute":"guest-ping"}',
    'ünïcödé 💾',
    "'; undefine victim; '",
  ])('%j comes back as one word', (word) => {
    expect(tokenize(`dumpxml ${quoteWord(word)};`)).toEqual([['dumpxml', word]]);
  });
});

describe('composeBatches', () => {
  it('puts everything into one process while it fits', () => {
    const commands = Array.from({ length: 1000 }, (_, index) => ['dumpxml', `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`]);
    expect(composeBatches(commands, nonce)).toHaveLength(1);
  });

  it('splits what outgrows one argument, losing and reordering nothing', () => {
    const commands = Array.from({ length: 5000 }, (_, index) => ['dumpxml', `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`]);
    const batches = composeBatches(commands, nonce);
    expect(batches.length).toBeGreaterThan(2);
    for (const batch of batches) expect(Buffer.byteLength(batch.text)).toBeLessThanOrEqual(maxArgumentBytes);
    const seen = batches.flatMap((batch) => tokenize(batch.text)).filter(([verb]) => verb === 'dumpxml');
    expect(seen).toEqual(commands);
    expect(batches.reduce((sum, batch) => sum + batch.count, 0)).toBe(commands.length);
    for (const [index, batch] of batches.entries())
      expect(batch.first).toBe(batches.slice(0, index).reduce((sum, each) => sum + each.count, 0));
  });

  it('counts bytes, not characters', () => {
    const commands = Array.from({ length: 100 }, () => ['echo', 'ü'.repeat(1000)]);
    for (const batch of composeBatches(commands, nonce)) expect(Buffer.byteLength(batch.text)).toBeLessThanOrEqual(maxArgumentBytes);
  });

  it('runs nothing for no commands', () => {
    expect(composeBatches([], nonce)).toEqual([]);
  });
});

describe('splitBatch', () => {
  const mark = (index: number): string => `@${nonce}${index.toString(36)}@`;

  it('attributes both streams command by command', () => {
    const stdout = `one\n${mark(0)}\n${mark(1)}\nthree\n\n${mark(2)}\n`;
    const stderr = `error: ${mark(0)}\nerror: no two\nerror: ${mark(1)}\nerror: ${mark(2)}\n`;
    expect(splitBatch(stdout, stderr, nonce, 0, 3)).toEqual([
      { stdout: 'one\n', stderr: '', reached: true },
      { stdout: '', stderr: 'error: no two\n', reached: true },
      { stdout: 'three\n\n', stderr: '', reached: true },
    ]);
  });

  it('gives the rest to the command that did not end, and nothing to those behind it', () => {
    const [first, second, third] = splitBatch(`one\n${mark(0)}\npart of tw`, `error: ${mark(0)}\nerror: Disconnected\n`, nonce, 0, 3);
    expect(first).toMatchObject({ stdout: 'one\n', reached: true });
    expect(second).toEqual({ stdout: 'part of tw', stderr: 'error: Disconnected\n', reached: false });
    expect(third).toEqual({ stdout: '', stderr: '', reached: false });
  });

  it('goes on counting in a later piece', () => {
    expect(splitBatch(`x${mark(36)}\ny${mark(37)}\n`, '', nonce, 36, 2).map((part) => part.stdout)).toEqual(['x', 'y']);
  });

  it('is not fooled by text that looks like a mark of another run', () => {
    const [answer] = splitBatch(`@other0@\n@${nonce}\n${mark(0)}\n`, `error: ${mark(0)}\n`, nonce, 0, 1);
    expect(answer).toEqual({ stdout: `@other0@\n@${nonce}\n`, stderr: '', reached: true });
  });

  it('reads nothing at all as not reached', () => {
    expect(splitBatch('', 'error: failed to connect\n', nonce, 0, 2)).toEqual([
      { stdout: '', stderr: 'error: failed to connect\n', reached: false },
      { stdout: '', stderr: '', reached: false },
    ]);
  });
});
