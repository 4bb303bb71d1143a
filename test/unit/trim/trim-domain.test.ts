import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentClient } from '../../../host/agent/client.ts';
import type { Connection, VirshAnswer } from '../../../host/libvirt/connection.ts';
import { trimResult, type TrimResult } from '../../../host/trim/schema.ts';
import { trimDomain, type TrimDomainOptions, type TrimOutcome } from '../../../host/trim/trim-domain.ts';
import { AppError, toAppError, type ErrorCode } from '../../../shared/errors.ts';

const uuid = '11111111-2222-3333-4444-555555555555';
const mebibyte = 2 ** 20;

let directory: string;
let image: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-domain-'));
  image = path.join(directory, 'web.raw');
  await writeFile(image, Buffer.alloc(4 * mebibyte, 1));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

type Answers = Readonly<Record<string, () => Promise<string> | string>>;

/** A host with one running domain, as virsh would answer for it; `changes` replaces answers by virsh or agent command. */
function host(changes: Answers = {}): { connection: Connection; asked: string[] } {
  const asked: string[] = [];
  const agent = (value: unknown): string => JSON.stringify({ return: value });
  const commands = ['guest-fstrim', 'guest-fsfreeze-status', 'guest-fsfreeze-freeze'].map((name) => ({ name, enabled: true }));
  const answers: Answers = {
    domstats: () => "Domain: 'web'\n  state.state=1\n  state.reason=1\n",
    dumpxml: () => `<domain type='kvm' id='3'><name>web</name><uuid>${uuid}</uuid>
      <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>
      <disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source file='${image}'/><target dev='vda' bus='virtio'/></disk>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>`,
    domjobinfo: () => 'Job type:         None\n',
    'guest-info': () => agent({ version: '7.2', supported_commands: commands }),
    'guest-fsfreeze-status': () => agent('thawed'),
    'guest-fstrim': async () => {
      await truncate(image, mebibyte);
      return agent({ paths: [{ path: '/', trimmed: 3 * mebibyte }] });
    },
    ...changes,
  };
  const one = async (command: readonly string[]): Promise<VirshAnswer> => {
    const verb = command[0] === 'qemu-agent-command' ? (JSON.parse(command[2] ?? '{}') as { execute: string }).execute : (command[0] ?? '');
    asked.push(verb);
    try {
      return { ok: true, stdout: (await answers[verb]?.()) ?? '' };
    } catch (thrown) {
      return { ok: false, error: toAppError(thrown) };
    }
  };
  const lost = new Set(['connection-lost', 'connect-timeout']);
  const runAll = async (all: readonly (readonly string[])[]): Promise<VirshAnswer[]> => {
    const done: VirshAnswer[] = [];
    for (const command of all) {
      const answer = await one(command);
      if (done.length === 0 && !answer.ok && lost.has(answer.error.code)) throw answer.error;
      done.push(answer);
    }
    return done;
  };
  const run = async (command: readonly string[]): Promise<string> => {
    const [answer] = await runAll([command]);
    if (answer?.ok !== true) throw answer?.error ?? new Error('no answer');
    return answer.stdout;
  };
  return { connection: { name: 'test', uri: { text: '', isLocal: true }, runAll, run } as unknown as Connection, asked };
}

async function trim(of: { connection: Connection }, options: Partial<TrimDomainOptions> = {}): Promise<TrimOutcome> {
  const { result, neutral } = await trimDomain(
    of.connection,
    new AgentClient(of.connection),
    { uuid, name: 'web' },
    {
      minimumBytes: null,
      timeoutSeconds: null,
      force: false,
      dryRun: false,
      excludeDisks: [],
      signal: new AbortController().signal,
      ...options,
    },
  );
  return { result: trimResult.parse(result), neutral };
}

function failing(code: ErrorCode): () => Promise<string> {
  return async () => {
    throw new AppError(code, `it is ${code}`);
  };
}

describe('trimDomain', () => {
  it('measures before and after, and says what came back', async () => {
    const { result } = await trim(host());
    expect(result).toMatchObject({
      status: 'ok',
      code: null,
      guestStillRunning: false,
      disks: [
        { target: 'vda', method: 'st_blocks', beforeBytes: 4 * mebibyte, afterBytes: mebibyte, reclaimedBytes: 3 * mebibyte, stable: true },
      ],
      paths: [{ path: '/', trimmedBytes: 3 * mebibyte, error: null }],
    });
  });

  it('keeps what it measured when libvirtd has gone before the last look', async () => {
    let reads = 0;
    const dying = host({
      domstats: () => {
        reads += 1;
        if (reads > 1) throw new AppError('connection-lost', 'libvirtd died');
        return "Domain: 'web'\n  state.state=1\n  state.reason=1\n";
      },
    });
    const { result } = await trim(dying);
    expect(reads).toBeGreaterThan(1);
    expect(result).toMatchObject({ status: 'ok', disks: [{ reclaimedBytes: 3 * mebibyte }] });
  });

  it.each([
    ['agent-silent', true],
    ['connection-lost', true],
    ['connect-timeout', true],
    ['agent-died', false],
    ['agent-lock', false],
    ['agent-error', false],
  ] as const)('guest-fstrim ends with %s: failed, still running in the guest: %s', async (code, stillRunning) => {
    const ended: string[] = [];
    const { result } = await trim(host({ 'guest-fstrim': failing(code) }), { onTrimmed: (domain) => ended.push(domain.name) });
    expect(result).toMatchObject({
      status: 'failed',
      code,
      guestStillRunning: stillRunning,
      guestTrimMs: null,
      disks: [{ target: 'vda' }],
    });
    expect(ended).toEqual(stillRunning ? [] : ['web']);
  });

  it.each<[string, () => Promise<string> | string, Partial<TrimResult>]>([
    ['domjobinfo', () => 'Job type:         Unbounded\nOperation:        Backup\n', { status: 'skipped', code: 'job-active' }],
    ['domstats', () => "Domain: 'web'\n  state.state=3\n  state.reason=5\n", { status: 'skipped', code: 'degraded' }],
    ['guest-info', failing('agent-silent'), { status: 'failed', code: 'agent-silent' }],
    ['guest-fsfreeze-status', () => '{"return":"frozen"}', { status: 'failed', code: 'agent-frozen' }],
    [
      'guest-info',
      () => '{"return":{"version":"1","supported_commands":[{"name":"guest-fstrim","enabled":false}]}}',
      { status: 'failed', code: 'agent-blocked' },
    ],
    ['guest-info', () => '{"return":{"version":"1","supported_commands":[]}}', { status: 'failed', code: 'agent-unsupported' }],
    ['dumpxml', failing('domain-unknown'), { status: 'failed', code: 'domain-unknown' }],
    ['dumpxml', () => '<domain', { status: 'failed', code: 'tool-failed' }],
  ])('%s forbids it: no guest-fstrim is sent', async (command, answer, expected) => {
    const forbidding = host({ [command]: answer });
    const { result } = await trim(forbidding);
    expect(result).toMatchObject(expected);
    expect(result.reason).toMatch(/\w/);
    expect(forbidding.asked).not.toContain('guest-fstrim');
  });

  it('a dry run asks and measures, and trims nothing', async () => {
    const dry = host();
    const { result } = await trim(dry, { dryRun: true });
    expect(result).toMatchObject({
      status: 'ok',
      reason: 'would be trimmed',
      disks: [{ beforeBytes: 4 * mebibyte, afterBytes: null, reclaimedBytes: null }],
    });
    expect(dry.asked).not.toContain('guest-fstrim');
  });

  it('an interruption is thrown, as what it is, wherever it comes', async () => {
    for (const during of ['guest-info', 'guest-fstrim'] as const) {
      const controller = new AbortController();
      const interrupted = host({
        [during]: () => {
          controller.abort(new AppError('interrupted', 'Ctrl-C'));
          return Promise.reject(new AppError('interrupted', 'virsh: interrupted'));
        },
      });
      await expect(trim(interrupted, { signal: controller.signal })).rejects.toMatchObject({ code: 'interrupted' });
    }
    const controller = new AbortController();
    const settling = host({
      'guest-fstrim': () => {
        controller.abort(new AppError('interrupted', 'Ctrl-C'));
        return '{"return":{"paths":[]}}';
      },
    });
    await expect(trim(settling, { signal: controller.signal })).rejects.toMatchObject({ code: 'interrupted', message: 'Ctrl-C' });
  });
});
