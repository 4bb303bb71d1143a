import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { GuestPort } from '../vm/guest-port.ts';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';
import { openTerminal } from './terminal.ts';

const block = ['-b', 'guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-fsfreeze-thaw,guest-fstrim'];

async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await sleep(10);
  }
}

/** Waits, bounded by the test's own time, until a process is gone. */
const ended = (pid: number): Promise<true> => until(() => (existsSync(`/proc/${pid}`) ? undefined : true));

test('-d: a daemon with its pid file, one at a time, ended by SIGTERM', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'agent-daemon-'));
  const [socket, pidFile] = [join(directory, 'sock'), join(directory, 'pid')];
  const args = ['-d', '-f', pidFile, '-m', 'unix-listen', '-p', socket, '-t', directory, ...block];
  expect(spawnSync(ourAgent, args).status).toBe(0);
  const pid = await until(() => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) || undefined : undefined));
  await until(() => (existsSync(socket) ? true : undefined));
  const port = new GuestPort(socket);
  await port.open();
  expect(await port.ask('guest-ping')).toEqual({ return: {} });
  // A second one must not take the first one's place.
  spawnSync(ourAgent, args);
  await sleep(200);
  expect(await port.ask('guest-ping')).toEqual({ return: {} });
  expect(Number(readFileSync(pidFile, 'utf8'))).toBe(pid);
  port.close();
  process.kill(pid, 'SIGTERM');
  await ended(pid);
  expect(existsSync(pidFile)).toBe(false);
  rmSync(directory, { recursive: true });
});

test('-r: waits for a channel that is not there yet; -l writes a log', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'agent-retry-'));
  const log = join(directory, 'log');
  const agent = spawn(ourAgent, ['-r', '-p', join(directory, 'no-port'), '-l', log, '-v', '-t', directory, ...block], { stdio: 'ignore' });
  await until(() => (existsSync(log) && readFileSync(log, 'utf8').includes('error opening channel') ? true : undefined));
  expect(agent.exitCode).toBe(null);
  const gone = new Promise((end) => agent.once('exit', end));
  agent.kill('SIGTERM');
  await gone;
  rmSync(directory, { recursive: true });
});

test('isa-serial: a line that echoes nothing and changes no byte', async () => {
  await using terminal = await openTerminal();
  const agent = spawn(ourAgent, ['-m', 'isa-serial', '-p', terminal.path, '-t', tmpdir(), ...block], { stdio: 'ignore' });
  await sleep(300); // what came before the line was set up is thrown away, as garbage
  terminal.send('{"execute":"guest-sync-delimited","arguments":{"id":1}}\r\n{"execute":"guest-ping","id":"\\n\x11\x13"}\n');
  const answers = await terminal.until((received) => (received.split('\n').length > 2 ? received : undefined));
  expect(answers.startsWith('\xff{"return": 1}\n')).toBe(true);
  expect(answers).toContain(`JSON parse error, stray`); // the raw control characters arrived as they were
  agent.kill('SIGKILL');
});
