import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { trimCodes } from '../../host/trim/schema.ts';
import { generatedDocuments } from '../docs/generated.ts';

describe('documents made from the code are up to date (npm run docs)', () => {
  it.each([...generatedDocuments()])('%s', async (file, content) => {
    expect(await readFile(file, 'utf8')).toBe(content);
  });
});

it('docs/messages.md explains every code', async () => {
  const text = await readFile('docs/messages.md', 'utf8');
  expect(trimCodes.filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
});
