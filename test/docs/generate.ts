import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generatedDocuments } from './generated.ts';

// `npm run docs`: writes what test/unit/docs.test.ts compares.
for (const [file, content] of generatedDocuments()) {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, content);
  process.stdout.write(`${file}\n`);
}
