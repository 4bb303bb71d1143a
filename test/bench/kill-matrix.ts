import { writeFile } from 'node:fs/promises';
import { cleanText } from '../../shared/clean-text.ts';
import { playMatrix } from '../vm/kill-matrix/play.ts';
import type { Row } from '../vm/kill-matrix/row.ts';
import { scenariosOfMigration } from '../vm/kill-matrix/scenarios-migration.ts';
import { scenariosOfOthers } from '../vm/kill-matrix/scenarios-others.ts';
import { scenariosOfUs } from '../vm/kill-matrix/scenarios-us.ts';

// npm run bench:kill-matrix [-- --only REGEXP] [--jobs N] [--markdown FILE]
const argument = (name: string): string | undefined => process.argv[process.argv.indexOf(name) + 1];
const has = (name: string): boolean => process.argv.includes(name);

const only = has('--only') ? new RegExp(argument('--only') ?? '') : /./;
const scenarios = [...scenariosOfUs, ...scenariosOfOthers, ...scenariosOfMigration].filter((each) => only.test(each.name));
const started = performance.now();

function line(row: Row): string {
  const late = row.lateMs === null ? '-' : (row.lateMs / 1000).toFixed(2);
  const said = cleanText(row.output.split('\n').at(-1) ?? '', 160)
    .replaceAll('|', '/')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID');
  return `| ${row.name} | ${row.thawed} | ${late} | ${row.status} | ${said} |`;
}

const rows = await playMatrix(scenarios, Number(has('--jobs') ? argument('--jobs') : 6), (row) => {
  process.stderr.write(`${row.problems.length === 0 ? 'ok  ' : 'BAD '} ${line(row)}\n`);
  for (const problem of row.problems) process.stderr.write(`     ${problem.slice(0, 400)}\n`);
});
const head = [
  '| scenario | thawed, seen from inside | s after max(lease, agent can answer) | exit | last line printed |',
  '|---|---|---|---|---|',
];
const bad = rows.filter((row) => row.problems.length > 0);
const seconds = Math.round((performance.now() - started) / 1000);
const text = [...head, ...rows.map(line), '', `${rows.length} scenarios, ${bad.length} with problems, ${seconds} s.`, ''].join('\n');
process.stdout.write(text);
if (has('--markdown')) await writeFile(argument('--markdown') ?? '', text);
process.exitCode = bad.length === 0 ? 0 : 1;
