import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { windowsDouble } from '../rig/windows-agent.ts';

// A double of qemu-ga for Windows, not Windows: it proves what we do with its answers (facts from qemu-ga's source).

let rig: Rig;
let cli: Cli;

beforeAll(async () => {
  rig = await startRig();
  await rig.bootScripted({ name: 'win' }, windowsDouble({ freezeMs: 2000 }));
  cli = await Cli.create(rig.uri);
}, 300_000);

afterAll(async () => {
  await cli?.[Symbol.asyncDispose]();
  await rig?.dispose();
});

test('is frozen only where flag or policy says so', async () => {
  const refused = await cli.run('quiesce', 'win', '--', 'true');
  expect(refused.exitCode).toBe(3);
  expect(refused.stderr).toContain('windows-freeze=yes');
  const short = await cli.run('quiesce', '--windows', '--lease', '60s', 'win', '--', 'true');
  expect(short.stderr).toContain('85 s at least');
});

test('VSS held all through the window is application consistency, with a warning of full backups', async () => {
  const { result, envelope } = await cli.json('quiesce', '--windows', '--require', 'application', 'win', '--', 'true');
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
  expect(result.stderr).toContain('VssOption=5');
  expect(envelope.domains[0]).toMatchObject({ consistency: 'application', frozenCount: 3, thawedCount: 3, leaseSeconds: 85 });
});

test('writes held for more than ten seconds are crash consistency, and the guest is not stuck', async () => {
  const { result, envelope } = await cli.json('quiesce', '--windows', 'win', '--', 'sleep', '11');
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
  expect(envelope.domains[0]).toMatchObject({
    consistency: 'crash',
    state: 'thawed',
    consistencyReason: expect.stringContaining('hold writes'),
  });
});

test('the policy allows it without the flag', async () => {
  await using allowed = await Cli.create(rig.uri, { VIRT_TRIM_WINDOWS_FREEZE: 'yes' });
  const result = await allowed.run('quiesce', 'win', '--', 'true');
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
});
