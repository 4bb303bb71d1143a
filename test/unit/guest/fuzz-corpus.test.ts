import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { FuzzTarget } from '../../fuzz/target.ts';

const corpus = resolve(import.meta.dirname, '../../fuzz/corpus');

test("the fuzzer's corpus: every answer is a line of JSON, nothing stays frozen or open, and whatever came before", () => {
  const names = readdirSync(corpus);
  expect(names.length).toBeGreaterThan(100);
  const together = new FuzzTarget();
  for (const name of names) {
    const input = readFileSync(join(corpus, name), 'latin1');
    together.run(input);
    const alone = new FuzzTarget();
    alone.run(input);
    // Except for what the clock says.
    const timeless = (answers: readonly string[]): string[] => answers.map((answer) => answer.replace(/"remaining-ms": \d+/, ''));
    expect(timeless(alone.answers), name).toEqual(timeless(together.answers));
  }
});
