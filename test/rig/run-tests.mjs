// `npm test` behind the bootstrap: static checks, then every vitest project (or those named as arguments), then the counts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const projects = process.argv.slice(2).flatMap((name) => ['--project', name]);
const checks = spawnSync('npm', ['run', '--silent', 'check'], { stdio: 'inherit' });
const environment = { ...process.env, VIRT_TRIM_STATIC_CHECKS: checks.status === 0 ? 'passed' : 'failed' };
const tests = spawnSync(
  'node_modules/.bin/vitest',
  ['run', '--reporter=default', `--reporter=${fileURLToPath(new URL('./count-reporter.ts', import.meta.url))}`, ...projects],
  {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: environment,
  },
);
process.exitCode = tests.status === 0 && checks.status === 0 ? 0 : (tests.status ?? 1) || 1;
