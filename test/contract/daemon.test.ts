import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scheduleResult } from '../../host/schedule/schema.ts';
import { Cli } from '../rig/cli.ts';
import { processesOf } from '../rig/virsh-watch.ts';

const testUuid = '6695eb01-f6a4-8304-79aa-97f2502e193f'; // libvirt's test driver, always the same
const uri = 'test:///default';

let directory: string;
const made: Cli[] = [];
const children: ReturnType<Cli['start']>[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-daemon-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    await child;
  }
  for (const cli of made.splice(0)) await cli[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function makeCli(connect = uri, env: Readonly<Record<string, string | undefined>> = {}): Promise<Cli> {
  const cli = await Cli.create(connect, {
    VIRT_TRIM_CONFIG_DIR: directory,
    JOURNAL_STREAM: undefined,
    NOTIFY_SOCKET: undefined,
    WATCHDOG_USEC: undefined,
    ...env,
  });
  made.push(cli);
  return cli;
}

async function configure(text: string): Promise<void> {
  await writeFile(path.join(directory, 'config.yaml'), text);
}

/** A daemon, and what it has said so far. */
class Running {
  readonly child: ReturnType<Cli['start']>;
  text = '';

  constructor(cli: Cli, ...args: string[]) {
    this.child = cli.start('daemon', ...args);
    children.push(this.child);
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.text += chunk.toString();
    });
  }

  async says(pattern: RegExp, timeoutMs = 30_000): Promise<void> {
    await until(
      () => pattern.test(this.text),
      timeoutMs,
      () => `${pattern.source} was not said:\n${this.text}`,
    );
  }
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs: number, complaint: () => string): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(complaint());
    await sleep(25);
  }
}

const started = /virt-trim daemon has started/;

describe('one daemon per state directory', () => {
  it('the second is told that it is one too many', async () => {
    const cli = await makeCli();
    const first = new Running(cli);
    await first.says(started);
    const second = await cli.run('daemon');
    expect(second.exitCode).toBe(75);
    expect(second.stderr).toMatch(/another virt-trim daemon works with this state directory/);
    expect(second.stderr).toContain(cli.stateDirectory);
  });

  it('one that was killed leaves no lock and no process behind', async () => {
    const cli = await makeCli();
    const first = new Running(cli);
    await first.says(started);
    first.child.kill('SIGKILL');
    await first.child;
    await until(
      async () => (await processesOf(cli.stateDirectory)).length === 0,
      5000,
      () => 'something is left',
    );
    const second = new Running(cli);
    await second.says(started);
  });

  it('where the holder of its lock is killed, it ends instead of working beside another', async () => {
    const cli = await makeCli();
    const daemon = new Running(cli);
    await daemon.says(started);
    for (const pid of await processesOf(cli.stateDirectory)) if (Number(pid) !== daemon.child.pid) process.kill(Number(pid), 'SIGKILL');
    expect((await daemon.child).exitCode).toBe(1);
    expect(daemon.text).toMatch(/the lock was lost/);
  });
});

describe('signals', () => {
  it('SIGTERM ends it with 0 and leaves nothing', async () => {
    const cli = await makeCli();
    const daemon = new Running(cli);
    await daemon.says(started);
    daemon.child.kill('SIGTERM');
    const { exitCode } = await daemon.child;
    expect(exitCode).toBe(0);
    expect(daemon.text).toMatch(/virt-trim daemon has ended/);
    expect(await processesOf(cli.stateDirectory)).toEqual([]);
  });

  it('SIGHUP takes a good configuration; a broken one is named, and the old one stays in force', async () => {
    const hosts = `hosts: ['${uri}']`;
    await configure(`${hosts}\ndefaults: { schedule: '0 1 * * *' }\n`);
    const cli = await makeCli('');
    const daemon = new Running(cli);
    await daemon.says(started);
    const plan = async (): Promise<string> =>
      (JSON.parse(await readFile(path.join(cli.stateDirectory, 'daemon.json'), 'utf8')) as { domains: Record<string, { plan: string }> })
        .domains[testUuid]?.plan ?? '';
    expect(await plan()).toMatch(/^0 1 \* \* \*\|/);

    await configure(`${hosts}\ndefaults: { schedule: '0 1 * * *', windw: 5 }\n`);
    daemon.child.kill('SIGHUP');
    await daemon.says(/config\.yaml:2: unknown key 'windw'.*the old configuration stays in force/);
    expect(await plan()).toMatch(/^0 1 /);

    await configure("hosts: ['no such uri']\n");
    daemon.child.kill('SIGHUP');
    await daemon.says(/no such uri.*stays in force/);

    await configure(`${hosts}\ndefaults: { schedule: '0 2 * * *' }\n`);
    daemon.child.kill('SIGHUP');
    await daemon.says(/was read again/);
    await until(
      async () => (await plan()).startsWith('0 2 '),
      5000,
      () => 'the new schedule is not in force',
    );
  });

  it('a configuration that is broken from the start is a usage error', async () => {
    await configure('limits: { per-backend: 0 }\n');
    const result = await (await makeCli()).run('daemon');
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toMatch(/config\.yaml:1/);
  });
});

/** Plays systemd: receives what is sent to a notification socket. Node has no unix datagram sockets; Python has. */
class NotifySocket {
  readonly file: string;
  readonly messages: string[] = [];
  readonly #receiver: ChildProcessByStdio<null, Readable, null>;

  constructor(file: string) {
    this.file = file;
    const program =
      'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint("bound",flush=True)\n' +
      'while True:\n data,fds,_,_=socket.recv_fds(s,4096,4)\n print(data.decode().replace("\\n","|"),flush=True)\n import os\n for fd in fds: os.close(fd)';
    this.#receiver = spawn('python3', ['-c', program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#receiver.stdout.on('data', (chunk: Buffer) => this.messages.push(...chunk.toString().trim().split('\n')));
  }

  close(): void {
    this.#receiver.kill();
  }
}

it('systemd is told: ready, what it does, reloads, that it lives, and its end', async () => {
  const socket = new NotifySocket(path.join(directory, 'notify'));
  try {
    await until(
      () => socket.messages.includes('bound'),
      10_000,
      () => 'no socket',
    );
    const cli = await makeCli(uri, { NOTIFY_SOCKET: socket.file, WATCHDOG_USEC: '3000000' });
    const daemon = new Running(cli);
    const told = (pattern: RegExp): Promise<void> =>
      until(
        () => socket.messages.some((message) => pattern.test(message)),
        30_000,
        () => `${pattern.source}: ${socket.messages.join(' ')}`,
      );
    await told(/^READY=1\|STATUS=0 trimming, 0 waiting, .*next test at /);
    await told(/^WATCHDOG=1/);
    daemon.child.kill('SIGHUP');
    await told(/^RELOADING=1/);
    await until(
      () => socket.messages.filter((message) => message.startsWith('READY=1')).length === 2,
      10_000,
      () => 'not ready again',
    );
    daemon.child.kill('SIGTERM');
    await told(/^STOPPING=1/);
    expect((await daemon.child).exitCode).toBe(0);
  } finally {
    socket.close();
  }
});

describe('what it says', () => {
  it.each([
    [{ VIRT_TRIM_LOG: 'json' }, /^\{"level":30,.*"event":"start".*\}$/m],
    [{ VIRT_TRIM_LOG: 'prefix' }, /^<6>virt-trim daemon has started event=start /m],
    [{ JOURNAL_STREAM: '8:1234' }, /^<6>virt-trim daemon has started event=start /m],
    [{}, /^info: virt-trim daemon has started event=start /m],
  ])('%j', async (env, line) => {
    const daemon = new Running(await makeCli(uri, env));
    await daemon.says(started);
    expect(daemon.text).toMatch(line);
  });
});

describe('several hypervisors', () => {
  let silent: Server | null = null;
  afterEach(() => silent?.close());

  it('one that accepts and never answers does not hold up the start for long, and is named', async () => {
    const socket = path.join(directory, 'silent');
    silent = createServer(() => undefined).listen(socket);
    const cli = await makeCli('');
    const args = ['-c', `qemu+unix:///system?socket=${socket}`, '-c', uri];
    const [global, rest] = [args, ['--json', 'schedule']];
    const { exitCode, stdout, stderr } = await cli.run(...global, ...rest);
    expect(exitCode).toBe(64);
    expect(stderr).toMatch(/no answer from qemu\+unix:.*silent/);
    const envelope = JSON.parse(stdout) as { domains: unknown[] };
    expect(envelope.domains.map((domain) => scheduleResult.parse(domain).name)).toEqual(['test']);
  });

  it('one that is not there is tried again, and served as soon as it is', async () => {
    const cli = await makeCli('');
    await configure(`hosts: ['qemu+unix:///system?socket=${directory}/nobody', '${uri}']\n`);
    const daemon = new Running(cli);
    await daemon.says(/cannot connect to qemu\+unix.*tried every minute/);
    await daemon.says(started);
    expect(daemon.text.match(/hypervisor-down/g)).toHaveLength(1);
  });
});

describe('schedule', () => {
  it('--next 10: in the order of time, with what they follow from', async () => {
    await configure("defaults: { schedule: '0 23 * * 3,7', time-zone: Europe/Berlin, window: 30m }\n");
    const cli = await makeCli();
    const { envelope, result } = await cli.json('schedule', '--next', '10');
    expect(result.exitCode).toBe(0);
    const domain = scheduleResult.parse(envelope.domains[0]);
    expect(domain).toMatchObject({ name: 'test', uuid: testUuid, status: 'scheduled', windowSeconds: 1800, now: null });
    expect(domain.next).toHaveLength(10);
    const local = domain.next.map(({ at }) => new Date(at).toLocaleString('sv', { timeZone: 'Europe/Berlin' }));
    expect(new Set(local.map((text) => text.slice(11))).size).toBe(1);
    for (const text of local) expect(text).toMatch(/ 23:[0-2]\d:/);
    expect(domain.reason).toMatch(/config\.yaml:1/);
    const shown = await cli.run('schedule', '--next', '2');
    expect(shown.stdout).toMatch(/^test +test:\/\/\/default +(Wed|Sun) \d{4}-\d\d-\d\d 23:/m);
    expect(shown.stderr).toMatch(/no daemon runs/);
  });

  it.each([
    ['domains: [{ match: test, trim: no }]', 'excluded', /trim=no .*config\.yaml:1/],
    ["domains: [{ match: 't*', schedule: none }]", 'excluded', /schedule=none/],
  ])('%s', async (config, status, reason) => {
    await configure(`${config}\n`);
    const { envelope } = await (await makeCli()).json('schedule');
    expect(envelope.domains[0]).toMatchObject({ status, next: [] });
    expect(scheduleResult.parse(envelope.domains[0]).reason).toMatch(reason);
  });

  it('with a daemon beside it, it does not say that nobody works', async () => {
    const cli = await makeCli();
    const daemon = new Running(cli);
    await daemon.says(started);
    await until(
      async () => (await readdir(cli.stateDirectory)).includes('daemon-status.json'),
      15_000,
      () => 'no status',
    );
    const { stderr } = await cli.run('schedule');
    expect(stderr).not.toMatch(/no daemon runs/);
  });

  it.each([['--next', '0'], ['--next', 'x'], ['nosuch-*']])('%s %s is refused', async (...args) => {
    expect((await (await makeCli()).run('schedule', ...args)).exitCode).toBeGreaterThan(0);
  });
});

it('--once ends when nothing is due', async () => {
  const cli = await makeCli();
  const { exitCode, stderr } = await cli.run('daemon', '--once');
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/virt-trim daemon has ended/);
});
