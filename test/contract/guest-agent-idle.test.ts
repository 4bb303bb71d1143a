import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { SocketAgent } from './guest-agents.ts';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';

/** Clock ticks of CPU time so far, of the process and the kernel for it (proc(5), fields 14 and 15). */
const cpuTicks = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ');
  return Number(fields[13]) + Number(fields[14]);
};

const switches = (agent: SocketAgent): number => agent.status('voluntary_ctxt_switches') + agent.status('nonvoluntary_ctxt_switches');

describe('while nothing is asked', () => {
  test('not one wake-up: with a client, and without', async () => {
    await using agent = new SocketAgent(ourAgent);
    const port = await agent.open();
    await port.ask('guest-ping');
    const connected = switches(agent);
    await sleep(1500);
    expect(switches(agent)).toBe(connected);
    port.close();
    await sleep(200);
    const alone = switches(agent);
    await sleep(1500);
    expect(switches(agent)).toBe(alone);
  });

  test('a client that leaves with its answers unread costs nothing', async () => {
    await using agent = new SocketAgent(ourAgent);
    const port = await agent.open();
    port.send('{"execute":"guest-info"}\n'.repeat(2000));
    await sleep(50);
    port.close();
    // A busy machine may be late with what was read already; an agent that spins never comes to rest.
    const rest = async (): Promise<boolean> => {
      const ticks = cpuTicks(agent.pid);
      await sleep(1000);
      return cpuTicks(agent.pid) === ticks;
    };
    let seconds = 0;
    while (!(await rest()) && seconds < 20) seconds++;
    expect(seconds).toBeLessThan(20);
    await port.open();
    expect(await port.ask('guest-ping')).toEqual({ return: {} });
  });
});

describe('memory', () => {
  test('stays what it was over many requests of every kind, good and bad', async () => {
    await using agent = new SocketAgent(ourAgent);
    const port = await agent.open();
    const rounds = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        port.send('{"execute":"guest-info"}\n{"execute":"guest-get-fsinfo"}\n{"execute":"guest-get-disks"}\nx{"a":[1,2,{"b":"c"}]}\n');
        await port.synchronise();
      }
    };
    await rounds(200);
    const before = agent.status('VmRSS');
    await rounds(800);
    expect(agent.status('VmRSS')).toBeLessThanOrEqual(before);
    expect(before).toBeLessThan(1400); // a third of qemu-ga's
    expect(agent.status('VmLck')).toBeGreaterThan(500); // it is locked: nothing of it is ever paged in while frozen
  });

  test('a request of a mebibyte is refused, and its memory given back or kept for good', async () => {
    await using agent = new SocketAgent(ourAgent);
    const port = await agent.open();
    for (let i = 0; i < 20; i++) {
      port.send(`{"execute":"guest-ping","id":"${'x'.repeat(2 ** 20)}"}\n`);
      expect((await port.next(20_000))?.error?.desc).toBe('JSON token size limit exceeded');
    }
    expect(agent.status('VmRSS')).toBeLessThan(16_384);
    expect(await port.ask('guest-ping')).toEqual({ return: {} });
  });
});

describe('privileges', () => {
  test('only what freezing needs is left', async () => {
    await using agent = new SocketAgent(ourAgent);
    const port = await agent.open();
    await port.ask('guest-ping');
    const text = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
    const mask = (key: string): bigint => BigInt(`0x${new RegExp(`^${key}:\\s+(\\w+)$`, 'm').exec(text)?.[1]}`);
    const kept = (1n << 2n) | (1n << 14n) | (1n << 21n); // DAC_READ_SEARCH, IPC_LOCK, SYS_ADMIN
    for (const key of ['CapPrm', 'CapEff', 'CapBnd']) expect(mask(key) & ~kept).toBe(0n);
    expect(mask('CapInh')).toBe(0n);
    expect(text).toMatch(/^NoNewPrivs:\s+1$/m);
  });
});

test('SIGTERM ends it; another client may come after the first', async () => {
  await using agent = new SocketAgent(ourAgent);
  const port = await agent.open();
  await port.ask('guest-ping');
  port.close();
  await port.open();
  expect(await port.ask('guest-ping')).toEqual({ return: {} });
  const ended = new Promise((end) => agent.process.once('exit', (status) => end(status)));
  agent.process.kill('SIGTERM');
  expect(await ended).toBe(0);
});
