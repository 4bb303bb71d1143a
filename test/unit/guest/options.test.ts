import { describe, expect, test } from 'vitest';
import { dumpConfig } from '../../../guest/config-file.ts';
import { chooseSplay, isVirtualMachine } from '../../../guest/machine.ts';
import { readOptions } from '../../../guest/options.ts';
import { isBlocked, UsageError } from '../../../guest/settings.ts';
import { FakeSys } from './fake-sys.ts';

function parse(args: readonly string[], config?: string) {
  const sys = new FakeSys();
  sys.args = [...args];
  sys.environment.set('QGA_CONF', '/conf');
  if (config !== undefined) sys.files.set('/conf', config);
  return readOptions(sys);
}

describe("qemu-ga's flags", () => {
  test('in every form getopt knows', () => {
    const wanted = { method: 'unix-listen', path: '/s', stateDirectory: '/run/x', verbose: true, daemonize: true, retryPath: true };
    for (const args of [
      ['-m', 'unix-listen', '-p', '/s', '-t', '/run/x', '-vdr'],
      ['-munix-listen', '-p/s', '-t/run/x', '-v', '-d', '-r'],
      ['--method=unix-listen', '--path', '/s', '--statedir=/run/x', '--verbose', '--daemonize', '--retry-path'],
    ]) {
      expect(parse(args)).toMatchObject(wanted);
    }
  });

  test('defaults', () => {
    expect(parse([])).toMatchObject({ method: 'virtio-serial', path: '/dev/virtio-ports/org.qemu.guest_agent.0', watchdogSeconds: 300 });
    expect(parse(['-m', 'isa-serial']).path).toBe('/dev/ttyS0');
  });

  test.each([
    [['-F'], 'freeze hooks (-F) are not supported: this agent starts no processes; a guest that needs hooks keeps qemu-ga'],
    [['-F/x'], 'freeze hooks'],
    [['--fsfreeze-hook'], 'freeze hooks'],
    [['-m', 'vsock-listen'], 'unsupported channel method/type: vsock-listen'],
    [['-m', 'unix-listen'], 'must specify a path'],
    [['-x'], 'Unknown option'],
    [['--nope'], 'Unknown option'],
    [['-p'], 'option requires an argument'],
    [['--watchdog', '0'], '--watchdog takes 1 to 86400 seconds'],
    [['--watchdog', '2d'], '--watchdog takes 1 to 86400 seconds'],
    [['stray'], 'unexpected argument'],
  ])('%j is refused', (args, words) => {
    expect(() => parse(args)).toThrow(UsageError);
    expect(() => parse(args)).toThrow(words);
  });

  test('block and allow lists', () => {
    const blocked = parse(['-b', 'guest-ping,guest-info', '-b', 'guest-sync']);
    expect(['guest-ping', 'guest-info', 'guest-sync', 'guest-fstrim'].map((name) => isBlocked(blocked, name))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    const allowed = parse(['-a', 'guest-ping']);
    expect([isBlocked(allowed, 'guest-ping'), isBlocked(allowed, 'guest-fstrim')]).toEqual([false, true]);
    expect(parse(['-b', 'help']).action).toBe('listCommands');
  });

  test('--once with its times', () => {
    expect(parse(['--once', '--splay', '3h', '--minimum', '65536'])).toMatchObject({
      action: 'once',
      splaySeconds: 10_800,
      minimumBytes: 65_536,
    });
  });
});

describe("qemu-ga's configuration file", () => {
  const file =
    '[general]\ndaemon=false\nmethod=virtio-serial\npath=/path/to/port\npidfile=/var/foo/p\nstatedir=/var/state\nverbose=true\nblock-rpcs=guest-ping;guest-get-time\n';

  test('is read, the command line wins, and -D prints what can be read back', () => {
    const options = parse(['-D', '-t', '/run/other'], file);
    expect(options).toMatchObject({
      path: '/path/to/port',
      verbose: true,
      blocked: ['guest-ping', 'guest-get-time'],
      stateDirectory: '/run/other',
    });
    expect(parse([], dumpConfig(options))).toEqual({ ...options, action: 'serve' });
  });

  test('hooks there are refused as well', () => {
    expect(() => parse([], '[general]\nfsfreeze-hook=/etc/qemu/fsfreeze-hook\n')).toThrow('freeze hooks');
    expect(() => parse([], '[general]\nverbose=maybe\n')).toThrow('/conf: verbose is true or false');
  });
});

describe('--once', () => {
  test('the splay is the same on one machine and spread over many', () => {
    const at = (id: string): number => {
      const sys = new FakeSys();
      sys.files.set('/etc/machine-id', `${id}\n`);
      return chooseSplay(sys, 3600);
    };
    expect(at('a4f1')).toBe(at('a4f1'));
    const hours = Array.from({ length: 1000 }, (_, i) => Math.floor(at(`${i}0123456789abcdef`) / 600));
    for (let part = 0; part < 6; part++) expect(hours.filter((it) => it === part).length).toBeGreaterThan(110);
  });

  test('what a virtual machine is known by', () => {
    const bare = new FakeSys();
    bare.files.set('/proc/cpuinfo', 'flags : fpu sse2\n');
    bare.files.set('/sys/class/dmi/id/sys_vendor', 'Dell Inc.\n');
    expect(isVirtualMachine(bare)).toBe(false);
    bare.files.set('/proc/cpuinfo', 'flags : fpu hypervisor\n');
    expect(isVirtualMachine(bare)).toBe(true);
    const qemu = new FakeSys();
    qemu.files.set('/sys/class/dmi/id/sys_vendor', 'QEMU\n');
    expect(isVirtualMachine(qemu)).toBe(true);
  });
});
