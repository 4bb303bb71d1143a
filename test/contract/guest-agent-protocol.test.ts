import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { AgentAnswer } from '../vm/guest-port.ts';
import { qemuGa, SocketAgent } from './guest-agents.ts';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';

const corpus = resolve(import.meta.dirname, '../fuzz/corpus');

/** QEMU's own cases (tests/unit/test-qga.c), said anew: what they ask of any agent. */
describe.each([
  ['ours', ourAgent],
  ["Debian's qemu-ga", qemuGa],
])("QEMU's agent tests: %s", (_name, program) => {
  const withAgent = async (
    use: (agent: SocketAgent) => Promise<void>,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> => {
    await using agent = new SocketAgent(program, { args, env });
    await agent.open();
    await use(agent);
  };

  test('sync, sync-delimited, ping, id, info, time', () =>
    withAgent(async ({ port }) => {
      const id = Math.floor(Math.random() * 2 ** 32);
      port.send('\xff\n');
      expect((await port.next(5000))?.error?.class).toBe('GenericError'); // one error line for the FF itself
      expect(await port.ask('guest-sync-delimited', { id })).toEqual({ return: id });
      expect(await port.ask('guest-sync', { id })).toEqual({ return: id });
      expect(await port.ask('guest-ping')).toEqual({ return: {} });
      port.send(`{'execute': 'guest-ping', 'id': 1}`);
      expect(await port.next(5000)).toEqual({ return: {}, id: 1 });
      expect((await port.ask('guest-info')).return).toMatchObject({ version: expect.any(String) });
      expect((await port.ask('guest-get-time')).return).toBeGreaterThan(0);
    }));

  test('invalid-oob, invalid-cmd, invalid-args', () =>
    withAgent(async ({ port }) => {
      port.send(`{'exec-oob': 'guest-ping'}`);
      expect((await port.next(5000))?.error?.class).toBe('GenericError');
      const unknown = await port.ask('guest-invalid-cmd');
      expect(unknown.error?.class).toBe('CommandNotFound');
      expect(unknown.error?.desc).not.toBe('');
      expect((await port.ask('guest-ping', { foo: 42 })).error).toEqual({ class: 'GenericError', desc: `Parameter 'foo' is unexpected` });
    }));

  test('network-get-interfaces, get-fsinfo, fsfreeze-status, get-host-name, get-timezone, get-users', () =>
    withAgent(async ({ port }) => {
      expect((await port.ask('guest-network-get-interfaces')).return).toEqual(
        expect.arrayContaining([expect.objectContaining({ name: 'lo' })]),
      );
      for (const filesystem of (await port.ask('guest-get-fsinfo')).return as object[]) {
        for (const member of ['name', 'mountpoint', 'type', 'disk']) expect(filesystem).toHaveProperty(member);
      }
      expect(await port.ask('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
      expect((await port.ask('guest-get-host-name')).return).toHaveProperty('host-name');
      expect((await port.ask('guest-get-timezone')).return).toHaveProperty('offset');
      expect((await port.ask('guest-get-users')).return).toBeInstanceOf(Array);
    }));

  test('blockedrpcs', () =>
    withAgent(
      async ({ port }) => {
        for (const name of ['guest-ping', 'guest-get-time']) {
          const { error } = await port.ask(name);
          expect(error).toMatchObject({ class: 'CommandNotFound', desc: expect.stringContaining(`Command ${name} has been disabled`) });
        }
        expect((await port.ask('guest-get-fsinfo')).error).toBeUndefined();
      },
      ['-b', 'guest-ping,guest-get-time'],
    ));

  test('guest-get-osinfo', async () => {
    await using agent = new SocketAgent(program, { env: { QGA_OS_RELEASE: join('/tmp', `os-release-${process.pid}`) } });
    writeFileSync(
      join('/tmp', `os-release-${process.pid}`),
      'ID=qemu-ga-test\nNAME=QEMU-GA\nPRETTY_NAME="QEMU Guest Agent test"\nVERSION="Test 1"\nVERSION_ID=1\nVARIANT="Unit test \\"\\\'\\$\\`\\\\ and \\\\\\\\ etc."\nVARIANT_ID=unit-test\n',
    );
    const port = await agent.open();
    expect((await port.ask('guest-get-osinfo')).return).toMatchObject({
      id: 'qemu-ga-test',
      name: 'QEMU-GA',
      'pretty-name': 'QEMU Guest Agent test',
      version: 'Test 1',
      'version-id': '1',
      variant: 'Unit test "\'$`\\ and \\\\ etc.',
      'variant-id': 'unit-test',
    });
  });

  test('config', async () => {
    await using agent = new SocketAgent(program);
    const file = join(agent.directory, 'conf');
    writeFileSync(
      file,
      '[general]\ndaemon=false\nmethod=virtio-serial\npath=/path/to/org.qemu.guest_agent.0\npidfile=/var/foo/qemu-ga.pid\nstatedir=/var/state\nverbose=true\nblock-rpcs=guest-ping;guest-get-time\n',
    );
    const { stdout, stderr, status } = spawnSync(program, ['-D'], { env: { QGA_CONF: file }, encoding: 'utf8' });
    expect([stderr, status]).toEqual(['', 0]);
    for (const line of [
      '[general]',
      'daemon=false',
      'method=virtio-serial',
      'path=/path/to/org.qemu.guest_agent.0',
      'pidfile=/var/foo/qemu-ga.pid',
      'statedir=/var/state',
      'verbose=true',
      'block-rpcs=guest-ping;guest-get-time',
    ]) {
      expect(stdout.split('\n')).toContain(line);
    }
  });
});

test.each([
  'guest-get-vcpus',
  'guest-get-memory-block-info',
  'guest-get-memory-blocks',
  'guest-file-open',
  'guest-file-write',
  'guest-file-read',
  'guest-exec',
  'guest-exec-status',
  'guest-set-user-password',
  'guest-set-time',
  'guest-shutdown',
  'guest-suspend-ram',
  'guest-ssh-add-authorized-keys',
])('%s is not there', async (name) => {
  await using agent = new SocketAgent(ourAgent);
  const port = await agent.open();
  expect((await port.ask(name)).error).toEqual({ class: 'CommandNotFound', desc: `The command ${name} has not been found` });
});

/** Our bound on nesting is lower than QEMU's. */
function isDeep(text: string): boolean {
  return (text.match(/[[{]/g) ?? []).length > 100;
}

/** A later qemu-ga (9.1 and newer) says more of a blocked command. */
function asOf72(answer: AgentAnswer): unknown {
  return JSON.parse(JSON.stringify(answer).replace(' has been disabled: the command is not allowed', ' has been disabled'));
}

describe('side by side with qemu-ga on this machine', () => {
  /** Both agents' answers to the same bytes, each as a list of what its lines say. */
  async function both(bytes: readonly string[]): Promise<[unknown[], unknown[]]> {
    const answers = [ourAgent, qemuGa].map(async (program) => {
      await using agent = new SocketAgent(program);
      const port = await agent.open();
      const found: unknown[] = [];
      for (const [at, piece] of bytes.entries()) {
        // The end of one piece and the beginning of the next must not make a message, whatever the piece left open.
        port.send(`${piece}\xff\n{"execute":"guest-sync","arguments":{"id":${1e9 + at}}}\n`);
        for (;;) {
          const answer = await port.next(10_000);
          if (answer === undefined) throw new Error(`${program} did not answer to ${JSON.stringify(piece)}`);
          found.push(asOf72(answer));
          if (answer.return === 1e9 + at) break;
        }
      }
      return found;
    });
    return [(await answers[0]) ?? [], (await answers[1]) ?? []];
  }

  test('every way to write a request wrong gives the same words', async () => {
    const requests = [
      '{"execute":"guest-sync","arguments":{"id":9223372036854775807}}',
      '{"execute":"guest-sync","arguments":{"id":-9223372036854775808}}',
      '{"execute":"guest-sync","arguments":{"id":9223372036854775808}}',
      '{"execute":"guest-sync","arguments":{"id":1.0}}',
      '{"execute":"guest-sync","arguments":{"id":null}}',
      '{"execute":"guest-sync","arguments":{"foo":1}}',
      '{"execute":"guest-sync","arguments":{"id":1,"foo":1}}',
      '{"execute":"guest-sync","arguments":[1]}',
      '{"execute":"guest-ping","id":{"a":[1,2.5,1e30,-0,18446744073709551615,99999999999999999999,"x\\u0000\\u00e9\\ud83d\\ude00/\\/"]}}',
      '{"execute":"guest-ping","id":[1.10,0.1,123456789.123456789,1e-5,0.0001,1e16,1e17,5e-324]}',
      '{"execute":1}',
      '{}',
      '[]',
      '5 "x" true null nope',
      '{"execute":"guest-ping","foo":1}',
      `{'execute':'guest-ping'}`,
      '{"execute":"guest-fstrim"}',
      '{"execute":"guest-fsfreeze-freeze","arguments":{"x":1}}',
      '{"a":1]',
      '{[}]',
      '[01][1.][-][1e+][+1]',
      '"\\ud800" "\\q" "\xed\xa0\x80" "\xc0\x80" "\xc0\xaf" "\x01"',
      '\x00\x01\x02',
      `{"execute":"guest-ping"}{"execute":"guest-ping"}`,
      '{"execute":\r\n\t"guest-ping"\n}',
    ];
    const [ours, theirs] = await both(requests);
    expect(ours).toEqual(theirs);
  });

  test("the fuzzer's corpus", async () => {
    const known = [
      'number is out of range',
      'nesting depth',
      'virt-trim',
      'guest-get-load',
      'guest-get-time',
      'guest-info',
      'guest-network',
    ];
    const inputs = readdirSync(corpus)
      .map((name) => readFileSync(join(corpus, name), 'latin1').slice(1))
      // inf, and what only one of them has, differ; the differences are listed in docs/guest-agent.md.
      .filter(
        (text) =>
          !known.some((word) => text.includes(word)) && !/\d[eE]\+?\d{3}/.test(text) && !text.includes('guest-exec') && !isDeep(text),
      );
    expect(inputs.length).toBeGreaterThan(50);
    const [ours, theirs] = await both(inputs);
    // Of several wrong members of one request, qemu-ga names the one that its hash table has first, ours the one that stands first.
    const nameFault = (answer: unknown): boolean =>
      /^QMP input member '.*' (is unexpected|must be an? \w+)$/.test((answer as { error?: { desc: string } }).error?.desc ?? '');
    const alike = ours.map((answer, index) => (nameFault(answer) && nameFault(theirs[index]) ? theirs[index] : answer));
    expect(alike).toEqual(theirs);
  });

  test('answers about the machine', async () => {
    const commands = [
      'guest-get-osinfo',
      'guest-get-host-name',
      'guest-get-timezone',
      'guest-get-users',
      'guest-get-disks',
      'guest-get-fsinfo',
      'guest-network-get-interfaces',
    ];
    const moving = new Set(['used-bytes', 'statistics']);
    const still = (value: unknown): unknown =>
      JSON.parse(JSON.stringify(value, (key, inner: unknown) => (moving.has(key) ? typeof inner : inner)));
    const [ours, theirs] = await both(commands.map((execute) => JSON.stringify({ execute })));
    expect(still(ours)).toEqual(still(theirs));
  });
});
