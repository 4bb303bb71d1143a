import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, inject, it } from 'vitest';
import { readGuardProgram } from '../../host/quiesce/guard.ts';

const directory = path.dirname(inject('mainFile'));

it('ships the guard', async () => {
  expect(await readFile(path.join(directory, 'quiesce', 'guard.sh'), 'utf8')).toBe(readGuardProgram());
});

it('has no fault points: nobody can stop a real run at a step by its environment', async () => {
  const names = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.js'));
  const texts = await Promise.all(names.map((name) => readFile(path.join(directory, name), 'utf8')));
  expect(texts.some((text) => text.includes('VIRT_TRIM_STATE_DIR'))).toBe(true);
  expect(texts.filter((text) => text.includes('VIRT_TRIM_FAULT'))).toEqual([]);
});
