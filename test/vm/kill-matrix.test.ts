import { expect, test } from 'vitest';
import { playMatrix } from './kill-matrix/play.ts';
import { scenariosOfMigration } from './kill-matrix/scenarios-migration.ts';
import { scenariosOfOthers } from './kill-matrix/scenarios-others.ts';
import { scenariosOfUs } from './kill-matrix/scenarios-us.ts';

// A representative part. All of it, with its table: npm run bench:kill-matrix

test('no guest stays frozen, whoever is killed', { timeout: 600_000 }, async () => {
  const quick = [...scenariosOfUs, ...scenariosOfOthers, ...scenariosOfMigration].filter((scenario) => scenario.quick === true);
  expect(quick.length).toBeGreaterThan(10);
  const rows = await playMatrix(quick, 6);
  expect(rows.flatMap((row) => row.problems.map((problem) => `${row.name}: ${problem}\n${row.output}`))).toEqual([]);
});
