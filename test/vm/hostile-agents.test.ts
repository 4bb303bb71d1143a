import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trimResult, type TrimResult } from '../../host/trim/schema.ts';
import {
  arrayAgent,
  dyingAgent,
  escapingAgent,
  garbageAgent,
  hungAgent,
  invalidUtf8Agent,
  manyPathsAgent,
  nestedAgent,
  oversizedAgent,
  silentAgent,
  slowAgent,
  wrongTypeAgent,
} from '../rig/agent-scripts.ts';
import { Cli, type CliResult } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import type { AgentScript } from '../rig/scripted-agent.ts';

const timeoutSeconds = 4;
/** What libvirt waits for its own guest-sync, beside the command's own time. */
const syncMs = 5000;
/** Software emulation on a busy machine, and the start of processes. */
const airMs = 12_000;

interface Hostile {
  readonly name: string;
  readonly script: AgentScript;
  readonly expected: Partial<TrimResult>;
}

const hostile: readonly Hostile[] = [
  { name: 'silent', script: silentAgent(), expected: { status: 'failed', code: 'agent-silent', guestStillRunning: false } },
  { name: 'hung', script: hungAgent(), expected: { status: 'failed', code: 'agent-silent', guestStillRunning: true } },
  { name: 'slow', script: slowAgent(1500), expected: { status: 'ok', code: null, guestStillRunning: false } },
  { name: 'dying', script: dyingAgent(), expected: { status: 'failed', code: 'agent-died' } },
  { name: 'garbage', script: garbageAgent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'array', script: arrayAgent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'oversized', script: oversizedAgent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'invalid-utf8', script: invalidUtf8Agent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'nested', script: nestedAgent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'wrong-type', script: wrongTypeAgent(), expected: { status: 'failed', code: 'agent-protocol' } },
  { name: 'escaping', script: escapingAgent(), expected: { status: 'ok', code: null } },
  { name: 'many-paths', script: manyPathsAgent(300), expected: { status: 'ok', code: null } },
];

/** Nothing that a terminal would obey: not from a guest. Our own line ends are the only control character. */
const controls = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/;

let rig: Rig;
let cli: Cli;
let run: CliResult;
let results: Map<string, TrimResult>;
beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
  const disks = [{ filesystem: null, sizeBytes: 16 * 1024 * 1024 }] as const;
  await Promise.all([
    rig.boot({ name: 'healthy', disks: [{ sizeBytes: 256 * 1024 * 1024 }] }),
    ...hostile.map(({ name, script }) => rig.bootScripted({ name, disks }, script)),
  ]);
  const at = ['--parallel', '20', '--per-backend', '20', '--timeout', `${timeoutSeconds}s`];
  const { result, envelope } = await cli.json('trim', '--all', ...at);
  run = result;
  results = new Map(envelope.domains.map((domain) => trimResult.parse(domain)).map((domain) => [domain.name, domain]));
});
afterAll(async () => {
  await rig.dispose();
  await cli[Symbol.asyncDispose]();
});

describe('one run over a healthy guest and every hostile one', () => {
  it('trims the healthy one', () => {
    expect(results.get('healthy')).toMatchObject({ status: 'ok', code: null });
    expect(results.get('healthy')?.paths).toHaveLength(1);
  });

  it.each(hostile)('$name: $expected.code', ({ name, expected }) => {
    const result = results.get(name);
    expect(result).toMatchObject(expected);
    if (expected.status === 'failed') expect(result?.reason).toMatch(/\w+ \w+/);
  });

  it.each(hostile)('$name costs no more than its own deadline', ({ name }) => {
    expect(results.get(name)?.wallMs).toBeLessThan(timeoutSeconds * 1000 + syncMs + airMs);
  });

  it('nobody waits for anybody: the whole takes no longer than the slowest', () => {
    const slowest = Math.max(...[...results.values()].map((result) => result.wallMs));
    expect(run.durationMs).toBeLessThan(slowest + 4000);
  });

  it('some failed: 64', () => {
    expect(results.size).toBe(hostile.length + 1);
    expect(run.exitCode).toBe(64);
  });

  it('bounds and cleans what the guest says', () => {
    expect(results.get('many-paths')?.paths).toHaveLength(300);
    const escaping = results.get('escaping');
    expect(escaping?.paths).toHaveLength(2);
    for (const path of escaping?.paths ?? []) expect(`${path.path}${path.error ?? ''}`).not.toMatch(controls);
    expect(run.stdout).not.toMatch(controls);
    expect(run.stderr).not.toMatch(controls);
  });
});

describe('on a terminal', () => {
  const name = ['escaping', 'many-paths'] as const;

  it('nothing of the guest’s bytes is raw, with -v on', async () => {
    const { stdout } = await execa('script', ['-qec', `node ${cli.file} -c ${rig.uri} -v trim ${name.join(' ')}`, '/dev/null'], {
      env: { ...(cli.env as Record<string, string>), TERM: 'xterm', COLUMNS: '200' },
      stdin: 'ignore',
    });
    expect(stdout).toContain('/srv/volume-300: the guest says 4 KiB trimmed');
    expect(stdout).toContain('owned');
    // What log-update itself writes to draw progress: hide the cursor, erase lines, move.
    const own = /\u001b\[(?:\?25[lh]|\d*[A-GJK])|\r(?=\n)|\r/g;
    expect(stdout).not.toContain('\u001b[2J');
    expect(stdout.replaceAll(own, '')).not.toMatch(controls);
  });

  it('list --probe shows names of systems cleaned, and says which agents do not answer', async () => {
    const { stdout, stderr, exitCode, durationMs } = await cli.run('list', '--probe');
    expect(exitCode).toBe(0);
    expect(stdout + stderr).not.toMatch(controls);
    expect(stdout).toMatch(/silent +running +silent/);
    expect(stderr).toMatch(/^silent: .*(?:not available|not respond)/m);
    expect(durationMs).toBeLessThan(2 * (syncMs + airMs));
  });
});
