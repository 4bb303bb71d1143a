import { chmod, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection } from '../../host/libvirt/connection.ts';
import { findDomain, isUnreadable, listDomains, readDomains } from '../../host/libvirt/domains.ts';
import { hostileDomains, writeTestNode } from './test-node.ts';

let directory: string;
let node: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-contract-'));
  node = await writeTestNode(path.join(directory, 'node.xml'), hostileDomains);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** A program in virsh's place. */
async function program(name: string, script: string): Promise<string> {
  const file = path.join(directory, name);
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  return file;
}

/** A zombie that its new parent has not reaped yet runs no more. */
async function isRunning(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: gone');
  return !/^State:\s*(?:gone|Z|X)/m.test(status);
}

describe("a real virsh on libvirt's test driver", () => {
  it('attributes each answer, and goes on behind a command that failed', async () => {
    const answers = await new Connection('test:///default').runAll([
      ['domname', '1'],
      ['dumpxml', 'nosuch'],
      ['echo', 'it\'s; "quoted" $(id) \\ @x@'],
      ['domname', 'nosuch'],
      ['domuuid', 'test'],
      ['echo', ''],
    ]);
    expect(answers.map((answer) => (answer.ok ? answer.stdout.trimEnd() : answer.error.code))).toEqual([
      'test',
      'domain-unknown',
      'it\'s; "quoted" $(id) \\ @x@',
      'domain-unknown',
      expect.stringMatching(/^[0-9a-f-]{36}$/),
      '',
    ]);
  });

  it('a command that virsh does not know at all fails the whole text: virsh parses it before it runs anything', async () => {
    await expect(new Connection('test:///default').runAll([['domname', '1'], ['nosuchcommand']])).rejects.toMatchObject({
      code: 'tool-failed',
    });
  });

  it('cuts what is longer than one argument into several processes', async () => {
    const commands = Array.from({ length: 3000 }, (_, index) => ['echo', `${index} ${'ü'.repeat(40)}`]);
    expect(commands.map((command) => command.join(' ')).join().length).toBeGreaterThan(128 * 1024);
    const answers = await new Connection('test:///default').runAll(commands);
    expect(answers.map((answer) => (answer.ok ? answer.stdout : ''))).toEqual(commands.map((command) => command[1]));
  });

  it('lists and reads domains whatever they are called', async () => {
    const connection = new Connection(node);
    const refs = await listDomains(connection);
    expect(refs.map((ref) => ref.name).toSorted()).toEqual(hostileDomains.map((domain) => domain.name).toSorted());
    const domains = await readDomains(connection, refs);
    for (const [index, domain] of domains.entries()) {
      expect(isUnreadable(domain)).toBe(false);
      expect(domain).toMatchObject(refs[index] ?? {});
      expect(domain).toMatchObject({
        state: hostileDomains.find((each) => each.name === domain.name)?.off === true ? 'shut off' : 'running',
      });
    }
  });

  it("finds by name, UUID and id; a number that is one's id and another's name is ambiguous", async () => {
    const connection = new Connection(node);
    const all = await listDomains(connection);
    const find = (wanted: string) => findDomain(connection, wanted, all);
    expect((await find('-x')).name).toBe('-x');
    expect((await find(' odd ')).name).toBe(' odd ');
    expect((await find('00000002-0000-4000-8000-000000000000')).name).toBe(hostileDomains[1]?.name);
    expect((await find('2')).name).toBe(hostileDomains[1]?.name);
    await expect(find('1')).rejects.toMatchObject({ code: 'domain-ambiguous' });
    await expect(find('--all')).rejects.toMatchObject({ code: 'domain-unknown' });
    await expect(find('99')).rejects.toMatchObject({ code: 'domain-unknown' });
  });

  it('takes no orders from the environment', async () => {
    const connection = new Connection('test:///default');
    process.env['VIRSH_DEBUG'] = '0';
    process.env['LC_ALL'] = 'de_DE.UTF-8';
    try {
      const [answer] = await connection.runAll([['dumpxml', 'nosuch']]);
      expect(answer).toMatchObject({ ok: false, error: { code: 'domain-unknown' } });
    } finally {
      delete process.env['VIRSH_DEBUG'];
      delete process.env['LC_ALL'];
    }
  });
});

describe('connections that do not come about', () => {
  it('virsh missing', async () => {
    await expect(new Connection('test:///default', '/nonexistent/virsh').run(['list'])).rejects.toMatchObject({
      code: 'virsh-missing',
      message: expect.stringContaining('/nonexistent/virsh') as unknown,
    });
  });

  it('virsh not executable', async () => {
    const file = await program('not-executable-virsh', '');
    await chmod(file, 0o644);
    await expect(new Connection('test:///default', file).run(['list'])).rejects.toMatchObject({ code: 'virsh-missing' });
  });

  it.each([
    ['no socket', 'qemu+unix:///system?socket=/nonexistent/sock', 'connect-failed'],
    ['no such driver path', 'test:///nonexistent/node.xml', 'connect-failed'],
  ])('%s: named, with what to look at', async (_what, uri, code) => {
    await expect(new Connection(uri).run(['list'])).rejects.toMatchObject({ code, message: expect.stringContaining(uri) as unknown });
  });

  it('refused: a socket that nobody listens on', async () => {
    const socket = path.join(directory, 'dead.sock');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    const uri = `qemu+unix:///system?socket=${socket}`;
    const link = path.join(directory, 'kept.sock');
    await rename(socket, link);
    await new Promise((resolve) => server.close(resolve));
    await expect(new Connection(uri.replace(socket, link)).run(['list'])).rejects.toMatchObject({ code: 'connect-failed' });
  });

  it('our own deadline ends a virsh that hangs, and everything that it started', async () => {
    const hanging = await program('hanging', 'trap \'\' TERM\nsleep 4711 &\necho $! > "$0.pid"\nwait\nsleep 4711');
    const startedAt = performance.now();
    await expect(new Connection('test:///default', hanging).run(['list'], { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'connect-timeout',
      message: expect.stringContaining('test:///default') as unknown,
    });
    expect(performance.now() - startedAt).toBeLessThan(5000);
    const child = Number(await readFile(`${hanging}.pid`, 'utf8'));
    await sleep(50);
    expect(await isRunning(child)).toBe(false);
  });

  it('and does not wait for a process that has left its group with our pipes in hand', async () => {
    const leaving = await program('leaving', 'setsid sleep 30 &\nsleep 4713');
    const startedAt = performance.now();
    await expect(new Connection('test:///default', leaving).run(['list'], { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'connect-timeout',
    });
    expect(performance.now() - startedAt).toBeLessThan(8000);
  });

  it('a virsh that floods us is stopped', async () => {
    const flood = await program('flood', 'exec yes');
    await expect(new Connection('test:///default', flood).run(['list'], { maxBytes: 1024 * 1024 })).rejects.toMatchObject({
      code: 'agent-protocol',
    });
  });

  it('a virsh that ends without a word', async () => {
    const silent = await program('silent', 'exit 0');
    await expect(new Connection('test:///default', silent).run(['list'])).rejects.toMatchObject({ code: 'connection-lost' });
    const killed = await program('killed', 'kill -9 $$');
    await expect(new Connection('test:///default', killed).run(['list'])).rejects.toMatchObject({ code: 'connection-lost' });
  });

  it('an interruption ends it', async () => {
    const slow = await program('slow', 'sleep 4712');
    const controller = new AbortController();
    const running = new Connection('test:///default', slow).run(['list'], { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    await expect(new Connection('test:///default').run(['list'], { signal: controller.signal })).rejects.toMatchObject({
      code: 'interrupted',
    });
  });

  it('bytes that are no UTF-8 do no harm', async () => {
    const odd = await program('odd', String.raw`printf 'error: failed to get domain \303\050\033[2J\n' >&2; exit 1`);
    const failed = new Connection('test:///default', odd).run(['list']);
    await expect(failed).rejects.toMatchObject({ code: 'domain-unknown' });
    await failed.catch((error: Error) => expect(error.message).not.toContain('\u001b'));
  });
});
