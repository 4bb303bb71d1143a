// `npm test` behind the bootstrap: static checks, then every vitest project (or those named as arguments), then the counts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const names = process.argv.slice(2);
const run = (file, args, env = process.env) => spawnSync(file, args, { stdio: ['ignore', 'inherit', 'inherit'], env }).status ?? 1;
const reporter = fileURLToPath(new URL('./count-reporter.ts', import.meta.url));

const checks = run('npm', ['run', '--silent', 'check']);
// A test that needs a guest says by itself that there is none: this only saves its time.
if (names.length === 0 || names.includes('vm')) run(process.execPath, ['--import', 'tsx', 'test/rig/main.ts', 'prepare']);
const tests = run(
  'node_modules/.bin/vitest',
  ['run', '--reporter=default', `--reporter=${reporter}`, ...names.flatMap((name) => ['--project', name])],
  { ...process.env, VIRT_TRIM_STATIC_CHECKS: checks === 0 ? 'passed' : 'failed' },
);
process.exitCode = checks === 0 ? tests : tests || 1;
