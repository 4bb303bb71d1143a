import { describe, expect, it } from 'vitest';
import { AgentClient } from '../../../host/agent/client.ts';
import { agentKind, offers, probeAgent } from '../../../host/agent/probe.ts';
import type { Connection, RunOptions, VirshAnswer } from '../../../host/libvirt/connection.ts';
import { AppError } from '../../../shared/errors.ts';

interface Call {
  readonly commands: readonly (readonly string[])[];
  readonly options: RunOptions;
}

/** A connection that answers when it is told to. */
class ManualConnection {
  readonly calls: (Call & { readonly answer: (...answers: VirshAnswer[]) => void })[] = [];

  runAll(commands: readonly (readonly string[])[], options: RunOptions): Promise<VirshAnswer[]> {
    return new Promise((resolve) => this.calls.push({ commands, options, answer: (...answers) => resolve(answers) }));
  }

  get asConnection(): Connection {
    return this as unknown as Connection;
  }
}

const ok = (value: unknown): VirshAnswer => ({ ok: true, stdout: `${JSON.stringify({ return: value })}\n` });
const failed = (error: AppError): VirshAnswer => ({ ok: false, error });
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const info = (...names: string[]): unknown => ({
  version: '7.2',
  supported_commands: names.map((name) => ({ name, enabled: true })),
});

describe('AgentClient', () => {
  it('addresses the domain by UUID, with a JSON request and a timeout of its own', async () => {
    const connection = new ManualConnection();
    const trim = new AgentClient(connection.asConnection).trim('uuid-1', 4096, { timeoutSeconds: 1800 });
    await settled();
    const [call] = connection.calls;
    expect(call?.commands).toEqual([
      ['qemu-agent-command', 'uuid-1', '{"execute":"guest-fstrim","arguments":{"minimum":4096}}', '--timeout', '1800'],
    ]);
    // Our own deadline lies behind libvirt's, and behind the 30 s that it may wait for the agent lock.
    expect(call?.options.timeoutMs).toBeGreaterThan((1800 + 30) * 1000);
    call?.answer(ok({ paths: [] }));
    expect(await trim).toEqual({ paths: [] });
  });

  it('sends no arguments where there are none', async () => {
    const connection = new ManualConnection();
    const trim = new AgentClient(connection.asConnection).trim('u', null, { timeoutSeconds: 1 });
    await settled();
    expect(connection.calls[0]?.commands[0]?.[2]).toBe('{"execute":"guest-fstrim"}');
    connection.calls[0]?.answer(ok({}));
    await trim;
  });

  it('has one call in flight per domain, in order, and never lets domains wait for each other', async () => {
    const connection = new ManualConnection();
    const client = new AgentClient(connection.asConnection);
    const results: string[] = [];
    const calls = [
      client.ping('a').then(() => results.push('a1')),
      client.ping('a').then(() => results.push('a2')),
      client.ping('b').then(() => results.push('b1')),
    ];
    await settled();
    expect(connection.calls.map((call) => call.commands[0]?.[1])).toEqual(['a', 'b']);
    connection.calls[1]?.answer(ok({}));
    await settled();
    expect(results).toEqual(['b1']);
    connection.calls[0]?.answer(ok({}));
    await settled();
    expect(connection.calls).toHaveLength(3);
    connection.calls[2]?.answer(ok({}));
    await Promise.all(calls);
    expect(results).toEqual(['b1', 'a1', 'a2']);
  });

  it('goes on with the next call after one that failed', async () => {
    const connection = new ManualConnection();
    const client = new AgentClient(connection.asConnection);
    const first = client.ping('a');
    const second = client.ping('a');
    await settled();
    connection.calls[0]?.answer(failed(new AppError('agent-silent', 'no')));
    await expect(first).rejects.toMatchObject({ code: 'agent-silent' });
    await settled();
    connection.calls[1]?.answer(ok({}));
    await expect(second).resolves.toBeUndefined();
  });
});

describe('probeAgent', () => {
  async function probe(
    ...steps: VirshAnswer[][]
  ): Promise<{ connection: ManualConnection; result: Awaited<ReturnType<typeof probeAgent>> }> {
    const connection = new ManualConnection();
    const promise = probeAgent(connection.asConnection, new AgentClient(connection.asConnection), 'u', { timeoutSeconds: 5 });
    for (const [index, answers] of steps.entries()) {
      await settled();
      connection.calls[index]?.answer(...answers);
    }
    return { connection, result: await promise };
  }

  it('asks a silent agent once, not four times', async () => {
    const { connection, result } = await probe([failed(new AppError('agent-silent', 'silent'))]);
    expect(connection.calls).toHaveLength(1);
    expect(result).toMatchObject({ ok: false, error: { code: 'agent-silent' } });
  });

  it('asks only what the agent offers, in one process', async () => {
    const { connection, result } = await probe(
      [ok(info('guest-fsfreeze-freeze', 'guest-get-osinfo', 'guest-fsfreeze-status'))],
      [ok('frozen'), ok({ id: 'mswindows', 'pretty-name': 'Windows' })],
    );
    expect(connection.calls[1]?.commands.map((command) => command[2])).toEqual([
      '{"execute":"guest-fsfreeze-status"}',
      '{"execute":"guest-get-osinfo"}',
    ]);
    expect(result).toMatchObject({
      ok: true,
      facts: { frozen: 'frozen', isWindows: true, osText: 'Windows', filesystems: null, kind: 'qemu-ga' },
    });
  });

  it('knows what it could not learn: a question that failed is null, not a guess', async () => {
    const { result } = await probe(
      [ok(info('guest-get-osinfo', 'guest-fsfreeze-status'))],
      [failed(new AppError('agent-error', 'x')), failed(new AppError('agent-silent', 'x'))],
    );
    expect(result).toMatchObject({ ok: true, facts: { frozen: null, os: null, osText: null, isWindows: false } });
  });

  it('a hostile answer makes the probe fail, not the program', async () => {
    const { result } = await probe([ok(info('guest-get-osinfo'))], [ok([1, 2, 3])]);
    expect(result).toMatchObject({ ok: false, error: { code: 'agent-protocol' } });
  });

  it('tells the agents apart by their commands', () => {
    const of = (...names: string[]): Parameters<typeof agentKind>[0] => info(...names) as Parameters<typeof agentKind>[0];
    expect(agentKind(of('guest-fsfreeze-freeze'))).toBe('qemu-ga');
    expect(agentKind(of('guest-fsfreeze-freeze', 'virt-trim-set-watchdog'))).toBe('virt-trim');
    expect(agentKind(of('guest-ping'))).toBe('unknown');
    expect(offers({ version: '', supported_commands: [{ name: 'guest-fstrim', enabled: false }] }, 'guest-fstrim')).toBe(false);
  });
});
