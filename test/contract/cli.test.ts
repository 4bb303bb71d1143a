import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Cli } from '../rig/cli.ts';
import { hostileDomains, writeTestNode } from './test-node.ts';

let directory: string;
let node: string;
let cli: Cli;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-cli-'));
  node = await writeTestNode(path.join(directory, 'node.xml'), hostileDomains);
  cli = await Cli.create(node);
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  await cli[Symbol.asyncDispose]();
});

/** Runs without `-c` of its own. */
async function bare(args: readonly string[], env: Readonly<Record<string, string | undefined>> = {}) {
  await using other = await Cli.create('', env);
  return other.run(...args);
}

describe('usage errors: exit 2, stdout empty, the culprit named', () => {
  it.each<[string[], RegExp]>([
    [['--nosuch'], /unknown option '--nosuch'/],
    [['list', '--nosuch'], /unknown option '--nosuch'/],
    [['trim', '--paralel', '2', 'web'], /--paralel.*Did you mean --parallel/s],
    [['trum'], /unknown command 'trum'.*Did you mean trim/s],
    [['lease', 'renew', '--nosuch'], /unknown option '--nosuch'/],
    [['trim', '--minimum', '5Q', '--', '-x'], /--minimum '5Q': expected a size such as/],
    [['trim', '--parallel', '0', '--', '-x'], /--parallel '0': expected a whole number from 1/],
    [['trim', '--per-backend', 'two', '--', '-x'], /--per-backend 'two'/],
    [['trim', '--timeout', 'soon', '--', '-x'], /--timeout 'soon': expected a duration/],
    [['trim'], /name a domain or give --all/],
    [['trim', '--all', 'web'], /not both/],
    [['trim', '--minimum'], /argument missing/],
    [['completion', 'powershell'], /unknown shell 'powershell': expected bash, zsh or fish/],
    [['completion'], /missing required argument 'shell'/],
  ])('%j', async (args, message) => {
    const result = await cli.run(...args);
    expect(result.stderr).toMatch(message);
    expect(result.stdout).toBe('');
    expect(result.exitCode).toBe(2);
  });

  it('a connection URI that is none', async () => {
    const result = await bare(['-c', 'nonsense', 'list']);
    expect(result).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringMatching(/'nonsense': expected DRIVER/) as unknown });
  });
});

describe('domains that are hard to name', () => {
  const reasonOf = async (...args: string[]) => {
    const { result, envelope } = await cli.json('trim', ...args);
    return {
      exitCode: result.exitCode,
      domains: envelope.domains as { name: string; uuid: string | null; code: string; status: string }[],
    };
  };

  it('one called -x, behind -- or by UUID; it is trimmed as far as the test driver can: skipped or failed, but found', async () => {
    for (const args of [['--', '-x'], ['00000001-0000-4000-8000-000000000000']]) {
      const { domains } = await reasonOf(...args);
      expect(domains).toMatchObject([{ name: '-x', uuid: '00000001-0000-4000-8000-000000000000' }]);
    }
  });

  it('-x without -- is an option that nobody knows', async () => {
    expect(await cli.run('trim', '-x')).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/unknown option '-x'/) as unknown });
  });

  it('one called all is not --all', async () => {
    const { domains } = await reasonOf('all');
    expect(domains.map((domain) => domain.name)).toEqual(['all']);
  });

  it("a number that is one's id and another's name is ambiguous, an unknown name unknown: exit 32, the others go on", async () => {
    const { exitCode, domains } = await reasonOf('1', 'nosuch', ' odd ');
    expect(exitCode).toBe(32);
    expect(domains.find((domain) => domain.name === '1')).toMatchObject({ status: 'failed', code: 'domain-ambiguous', uuid: null });
    expect(domains.find((domain) => domain.name === 'nosuch')).toMatchObject({ status: 'failed', code: 'domain-unknown', uuid: null });
    expect(domains.find((domain) => domain.name === ' odd ')).toMatchObject({ uuid: '00000003-0000-4000-8000-000000000000' });
  });

  it('escapes in a name that was asked for do not reach the terminal', async () => {
    const { stdout, stderr } = await cli.run('trim', '\u001b[2Jnosuch\u202e');
    expect(stdout + stderr).toContain('nosuch');
    expect(stdout + stderr).not.toMatch(/[\u001b\u202e]/);
  });

  it('--exclude takes one glob, and not the words behind it', async () => {
    const { domains } = await reasonOf('--all', '--exclude', 'a*', '--exclude', '1', '[a-z-]*', '--dry-run');
    expect(domains.map((domain) => domain.name).toSorted()).toEqual(['-x', hostileDomains[1]?.name]);
  });

  it('named twice is trimmed once', async () => {
    const { domains } = await reasonOf('all', 'all', '00000005-0000-4000-8000-000000000000');
    expect(domains).toHaveLength(1);
  });
});

describe('connections that fail: exit 1, named', () => {
  it('virsh missing, by variable and by PATH', async () => {
    for (const env of [{ VIRT_TRIM_VIRSH: '/nonexistent/virsh' }, { PATH: directory }]) {
      const result = await bare(['-c', 'test:///default', 'list'], env);
      expect(result).toMatchObject({
        exitCode: 1,
        stdout: '',
        stderr: expect.stringMatching(/virsh: program not found; install it/) as unknown,
      });
    }
  });

  it('nobody listens, with -c, with LIBVIRT_DEFAULT_URI and with libvirt’s own default', async () => {
    const uri = 'qemu+unix:///system?socket=/nonexistent/sock';
    for (const [args, env] of [
      [['-c', uri, 'list'], {}],
      [['list'], { LIBVIRT_DEFAULT_URI: uri }],
    ] as const) {
      const result = await bare(args, env);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(`cannot connect to ${uri}: `);
      expect(result.stderr).toContain('is libvirtd running there?');
    }
    const nowhere = await bare(['list'], { XDG_CONFIG_HOME: directory, XDG_RUNTIME_DIR: directory, HOME: directory });
    expect(nowhere.exitCode).toBe(1);
    expect(nowhere.stderr).toMatch(/^error: .*connect/);
  });

  it('permission refused, as somebody who may not', async () => {
    const socket = path.join(directory, 'root-only.sock');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    await chmod(directory, 0o755);
    await chmod(socket, 0o600);
    const virsh = path.join(directory, 'nobody-virsh');
    await writeFile(virsh, '#!/bin/sh\nHOME=/nonexistent exec setpriv --reuid 65534 --regid 65534 --clear-groups virsh "$@"\n');
    await chmod(virsh, 0o755);
    const { exitCode, stdout, stderr } = await bare(['--json', '-c', `qemu+unix:///system?socket=${socket}`, 'list'], {
      VIRT_TRIM_VIRSH: virsh,
    });
    server.close();
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ command: 'list', exitStatus: 1, domains: [], error: { code: 'permission-denied' } });
    expect(stderr).toContain('Permission denied');
  });

  describe('a daemon that accepts and says nothing', () => {
    let server: Server;
    let uri: string;
    const clients: Socket[] = [];
    beforeEach(async () => {
      const socket = path.join(directory, 'silent.sock');
      server = createServer((client) => clients.push(client)).listen(socket);
      await new Promise((resolve) => server.once('listening', resolve));
      uri = `qemu+unix:///system?socket=${socket}`;
    });
    afterEach(() => {
      for (const client of clients) client.destroy();
      server.close();
    });

    it('is given up after 10 s, and named', async () => {
      const result = await bare(['-c', uri, 'list']);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(`no answer from ${uri} within 10 s`);
      expect(result.durationMs).toBeGreaterThan(9_500);
      expect(result.durationMs).toBeLessThan(12_500);
    });

    it('Ctrl-C ends it at once, with 130', async () => {
      await using other = await Cli.create(uri);
      const running = other.start('list');
      await new Promise((resolve) => server.once('connection', resolve));
      const startedAt = performance.now();
      running.kill('SIGINT');
      const { exitCode, stderr } = await running;
      expect(exitCode).toBe(130);
      expect(stderr).toContain('interrupted by SIGINT');
      expect(performance.now() - startedAt).toBeLessThan(3000);
    });
  });
});

describe('what is written, and where', () => {
  it('a reader that goes away is no error of ours', async () => {
    const { stdout, stderr, exitCode } = await execa('bash', ['-o', 'pipefail', '-c', 'node "$0" -c "$1" list | head -1', cli.file, node], {
      reject: false,
      env: cli.env as Record<string, string>,
    });
    expect(stdout).toMatch(/^\s*Id\s+Name\s+State/);
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
  });

  it('no colors without a terminal, nor on one with NO_COLOR', async () => {
    expect((await cli.run('list')).stdout).not.toContain('\u001b');
    const { stdout } = await execa('script', ['-qec', `node ${cli.file} -c test:///default list`, '/dev/null'], {
      env: { ...(cli.env as Record<string, string>), NO_COLOR: '1', TERM: 'xterm-256color' },
      stdin: 'ignore',
    });
    expect(stdout).toContain('running');
    expect(stdout).not.toMatch(/\u001b\[\d+(;\d+)*m/);
  });

  it('-q leaves the result on stdout, and nothing on stderr', async () => {
    const { stdout, stderr, exitCode } = await cli.run('-q', 'list');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain('all');
  });

  it('--version and --help go to stdout, with 0', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    expect(await bare(['--version'])).toMatchObject({ exitCode: 0, stdout: version, stderr: '' });
    const help = await bare(['--help']);
    expect(help).toMatchObject({ exitCode: 0, stderr: '' });
    for (const status of ['32', '64', '70', '75', '130']) expect(help.stdout).toMatch(new RegExp(`^ +${status}\\b`, 'm'));
    expect((await bare(['trim', '--help'])).stdout).toMatch(/--per-backend/);
  });
});

describe('the man page', () => {
  it('formats without a warning, and tells what --help tells', async () => {
    const page = (await bare(['man'])).stdout;
    const { stdout, stderr } = await execa('groff', ['-man', '-ww', '-Tutf8', '-P-cbou', '-rLL=100n'], { input: page });
    expect(stderr).toBe('');
    for (const word of ['NAME', 'SYNOPSIS', 'EXIT STATUS', '--per-backend', 'VIRT_TRIM_STATE_DIR', 'virsh(1)'])
      expect(stdout).toContain(word);
    const file = path.join(directory, 'virt-trim.8');
    await writeFile(file, page);
    const shown = await execa('man', ['--warnings', '-l', file], { env: { MANPAGER: 'cat', MAN_KEEP_FORMATTING: '', LC_ALL: 'C.UTF-8' } });
    expect(shown.stderr).toBe('');
    expect(shown.stdout).toContain('VIRT-TRIM(8)');
  });
});
