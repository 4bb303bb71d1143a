import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as z from 'zod/mini';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAnswer } from '../../host/agent/parse-answer.ts';
import { agentKind, offers } from '../../host/agent/probe.ts';
import { emptyAnswer, fsInfo, freezeStatus, guestInfo, osInfo } from '../../host/agent/schema.ts';

/**
 * What a real qemu-ga on a socket says goes through our schemas. virsh cannot be pointed at a socket, so the client as a whole is
 * proven with real guests (test/vm). Whatever could freeze, trim or stop this machine is blocked.
 */
const blocked = [
  'guest-fsfreeze-freeze',
  'guest-fsfreeze-freeze-list',
  'guest-fstrim',
  'guest-exec',
  'guest-shutdown',
  'guest-suspend-ram',
];

let directory: string;
let agent: ReturnType<typeof startAgent>;
let socket: Socket;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-qga-'));
  const file = path.join(directory, 'ga.sock');
  agent = startAgent(file);
  socket = await connect(file);
});
afterAll(async () => {
  socket.destroy();
  agent.kill();
  await agent;
  await rm(directory, { recursive: true, force: true });
});

function startAgent(file: string) {
  const args = ['-m', 'unix-listen', '-p', file, '-t', directory, '-f', path.join(directory, 'pid'), '-b', blocked.join(',')];
  return execa('/usr/sbin/qemu-ga', args, { reject: false });
}

async function connect(file: string): Promise<Socket> {
  for (let attempt = 0; ; attempt += 1) {
    const candidate = createConnection(file);
    const error = await new Promise<Error | null>((resolve) => candidate.once('connect', () => resolve(null)).once('error', resolve));
    if (error === null) return candidate.setEncoding('utf8');
    if (attempt === 100) throw error;
    await sleep(50);
  }
}

/** One request, one line of answer, as virsh prints it. */
async function ask(command: string, args?: object): Promise<string> {
  socket.write(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) })}\n`);
  let answer = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    answer += String(chunk);
    if (answer.includes('\n')) break;
  }
  return answer;
}

describe('a real qemu-ga, read by our schemas', () => {
  it('guest-info', async () => {
    const info = parseAnswer('guest-info', await ask('guest-info'), guestInfo);
    expect(info.version).toMatch(/^\d+\.\d+/);
    expect(agentKind(info)).toBe('qemu-ga');
    expect(offers(info, 'guest-ping')).toBe(true);
    expect(offers(info, 'guest-fstrim')).toBe(false);
    expect(info.supported_commands.some((command) => command.name === 'guest-fstrim')).toBe(true);
  });

  it('guest-get-osinfo', async () => {
    const os = parseAnswer('guest-get-osinfo', await ask('guest-get-osinfo'), osInfo);
    expect(os['pretty-name']).toMatch(/Debian/);
    expect(os.id).toBe('debian');
  });

  it('guest-get-fsinfo', async () => {
    const filesystems = parseAnswer('guest-get-fsinfo', await ask('guest-get-fsinfo'), fsInfo);
    for (const filesystem of filesystems) expect(filesystem.mountpoint).toMatch(/^\//);
  });

  it('guest-fsfreeze-status and guest-ping', async () => {
    expect(parseAnswer('guest-fsfreeze-status', await ask('guest-fsfreeze-status'), freezeStatus)).toBe('thawed');
    expect(parseAnswer('guest-ping', await ask('guest-ping'), emptyAnswer)).toEqual({});
  });

  it.each(['9223372036854775807', '-9223372036854775808', '9007199254740993'])('guest-sync %s comes back exactly', async (id) => {
    socket.write(`{"execute":"guest-sync","arguments":{"id":${id}}}\n`);
    let answer = '';
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      answer += String(chunk);
      if (answer.includes('\n')) break;
    }
    expect(parseAnswer('guest-sync', answer, z.bigint())).toBe(BigInt(id));
  });

  it('guest-get-time is nanoseconds, more than a double holds', async () => {
    const now = parseAnswer('guest-get-time', await ask('guest-get-time'), z.bigint());
    expect(Number(now / 1_000_000n) - Date.now()).toBeLessThan(5000);
  });

  it('an error reply is no answer', async () => {
    const text = await ask('guest-fstrim');
    expect(JSON.parse(text)).toMatchObject({ error: { class: 'CommandNotFound', desc: expect.stringMatching(/disabled/) as unknown } });
    expect(() => parseAnswer('guest-fstrim', text, emptyAnswer)).toThrow(/no "return"/);
  });
});
