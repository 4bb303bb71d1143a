import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GuestPort } from '../vm/guest-port.ts';
import { harmless, listBlocked } from './guest-agents.ts';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';
import { documentedCalls, tracedCalls } from './system-calls.ts';
import { openTerminal } from './terminal.ts';

/**
 * Every system call of the agent where it may not freeze or trim: strace sees it start, serve, refuse and end in each of its ways.
 * `test/vm/guest-agent-calls.test.ts` does the same for what only a guest may do.
 */
const directory = mkdtempSync(join(tmpdir(), 'agent-calls-'));
const file = (name: string): string => join(directory, name);
const seen = new Set<string>();

beforeAll(() => chmodSync(directory, 0o777)); // one agent runs as nobody
afterAll(() => rmSync(directory, { recursive: true }));

async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await sleep(10);
  }
}

/** Runs the agent under strace, lets `use` talk to it, ends it with SIGTERM and adds what it called. */
async function trace(name: string, args: readonly string[], use: () => Promise<void>, options: readonly string[] = []): Promise<void> {
  const output = file(`${name}.trace`);
  const block = ['-t', directory, '-b', listBlocked(ourAgent)];
  const tracer = spawn('strace', ['-f', ...options, '-o', output, ourAgent, ...args, ...block], { stdio: 'ignore' });
  const ended = new Promise((end) => tracer.once('exit', end));
  await use();
  // strace passes no signal on; the process of the last line is the agent, also where it has made itself a daemon.
  const [, pid] = /^(\d+) .*\n?$/.exec(readFileSync(output, 'latin1').trimEnd().split('\n').at(-1) ?? '') ?? [];
  process.kill(Number(pid), 'SIGTERM');
  await ended;
  for (const call of tracedCalls(readFileSync(output, 'latin1'))) seen.add(call);
}

/** Until the trace shows this. */
const traced = (name: string, text: string): Promise<true> =>
  until(() => (existsSync(file(name)) && readFileSync(file(name), 'latin1').includes(text) ? true : undefined));

async function serve(socket: string, requests: readonly string[]): Promise<void> {
  await until(() => existsSync(socket) || undefined);
  const port = new GuestPort(socket);
  await port.open();
  for (const request of requests) {
    port.send(`${request}\n`);
    if ((await port.next(20_000)) === undefined) throw new Error(`no answer to ${request.slice(0, 80)}`);
  }
  port.close();
}

const ask = (execute: string): string => JSON.stringify(execute.startsWith('guest-sync') ? { execute, arguments: { id: 1 } } : { execute });
const everything = [...harmless.map(ask), ...harmless.map(ask), '{"a":1]', 'x', `{"execute":"guest-ping","id":"${'x'.repeat(2 ** 20)}"}`];

test('what the agent calls on a machine that it may not freeze is what docs/guest-agent.md lists, each from Linux 3.2 or older', async () => {
  const [socket, log] = [file('sock'), file('log')];
  const listen = (name: string): string[] => ['-m', 'unix-listen', '-p', name];
  await trace('socket', [...listen(socket), '-v', '-l', log], async () => {
    await serve(socket, everything);
    await serve(socket, [ask('guest-ping')]); // another client
  });
  await trace('daemon', [...listen(file('daemon')), '-d', '-f', file('pid')], () => serve(file('daemon'), [ask('guest-ping')]));
  await trace('nobody', listen(file('theirs')), () => serve(file('theirs'), [ask('guest-ping')]), ['-u', 'nobody']);
  // A kernel that is too old to know PR_SET_NO_NEW_PRIVS (3.5), or any of them.
  await trace('old', listen(file('old')), () => serve(file('old'), [ask('guest-ping')]), ['-e', 'inject=prctl:error=EINVAL']);
  await trace('waiting', ['-r', '-p', file('no-port')], async () => {
    await traced('waiting.trace', 'ppoll');
  });
  await using terminal = await openTerminal();
  await trace('serial', ['-m', 'isa-serial', '-p', terminal.path], async () => {
    await traced('serial.trace', 'ppoll');
  });
  for (const option of ['-V', '-D', '--nope']) {
    spawnSync('strace', ['-o', file('option.trace'), ourAgent, option], { stdio: 'ignore' });
    for (const call of tracedCalls(readFileSync(file('option.trace'), 'latin1'))) seen.add(call);
  }
  const { anywhere, since } = documentedCalls();
  expect([...seen].toSorted()).toEqual([...anywhere].toSorted());
  const newer = [...since].filter(([, version]) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    return major > 3 || (major === 3 && minor > 2);
  });
  // Tried, and nothing is lost where it fails.
  expect(newer).toEqual([['prctl PR_SET_NO_NEW_PRIVS', '3.5']]);
});

test('the aarch64 build calls what is listed for it', async () => {
  const [output, socket, program] = [file('arm.trace'), file('arm'), ourAgent.replace('x86_64', 'aarch64')];
  const block = ['-t', directory, '-b', listBlocked(ourAgent)];
  const log = openSync(output, 'w');
  const agent = spawn('qemu-aarch64-static', ['-strace', program, '-m', 'unix-listen', '-p', socket, ...block], {
    stdio: ['ignore', 'ignore', log],
  });
  closeSync(log);
  const ended = new Promise((end) => agent.once('exit', end));
  await serve(socket, harmless.map(ask));
  agent.kill('SIGTERM');
  await ended;
  const calls = [...readFileSync(output, 'latin1').matchAll(/^\d+ ([a-z_0-9]+)\(/gm)].map(([, call = '']) => call);
  expect(calls).toContain('getdents64');
  const { aarch64 } = documentedCalls();
  expect(calls.filter((call) => !aarch64.has(call))).toEqual([]);
});
