import { describe, expect, test } from 'vitest';
import { AgentUnderTest } from './agent-under-test.ts';
import { makeGuest } from './fake-sys.ts';
import type { FakeSys } from './fake-sys.ts';

const markerPath = '/run/virt-trim-agent.frozen';
const frozen = (sys: FakeSys): string[] => [...sys.filesystems.values()].filter((it) => it.frozen > 0).map((it) => it.device);

describe('freeze and thaw', () => {
  test('the youngest mount first, what cannot is passed over, and the thaw undoes it the other way round', () => {
    const agent = new AgentUnderTest();
    expect(agent.call('guest-fsfreeze-freeze')).toEqual({ return: 2 });
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'frozen' });
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 2 });
    expect(agent.sys.done).toEqual(['freeze 254:16', 'freeze 254:1', 'thaw 254:1', 'thaw 254:16']);
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
    expect(agent.sys.openCount).toBe(0);
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 0 });
  });

  test('a list: unknown paths are passed over, an empty one freezes nothing, none at all freezes everything', () => {
    const agent = new AgentUnderTest();
    expect(agent.call('guest-fsfreeze-freeze-list', { mountpoints: ['/srv data', '/nope'] })).toEqual({ return: 1 });
    expect(frozen(agent.sys)).toEqual(['254:16']);
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 1 });
    expect(agent.call('guest-fsfreeze-freeze-list', { mountpoints: [] })).toEqual({ return: 0 });
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
    expect(agent.call('guest-fsfreeze-freeze-list', {})).toEqual({ return: 2 });
  });

  test('while frozen only what is harmless, and nothing is logged', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    const logged = agent.sys.logged.length;
    const refused = { class: 'CommandNotFound', desc: 'Command guest-get-fsinfo has been disabled: the agent is in frozen state' };
    expect(agent.call('guest-get-fsinfo').error).toEqual(refused);
    expect(agent.call('guest-fsfreeze-freeze').error?.desc).toBe(
      'Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state',
    );
    expect(agent.call('guest-ping')).toEqual({ return: {} });
    expect(agent.sys.logged.length).toBe(logged);
    agent.call('guest-fsfreeze-thaw');
    expect(agent.sys.logged.length).toBeGreaterThan(logged);
  });

  test('one that fails thaws all', () => {
    const agent = new AgentUnderTest();
    const root = agent.sys.filesystems.get('254:1');
    if (root !== undefined) root.freezeError = 5;
    expect(agent.call('guest-fsfreeze-freeze').error?.desc).toBe('failed to freeze /: Input/output error');
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
    expect(frozen(agent.sys)).toEqual([]);
    expect(agent.sys.openCount).toBe(0);
  });

  test('an over-mounted path still thaws, and one that was over-mounted before is not mistaken for the other', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    agent.sys.mounted.set('/srv data', '0:99');
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 2 });
    expect(frozen(agent.sys)).toEqual([]);
    expect(agent.call('guest-fsfreeze-freeze')).toEqual({ return: 1 });
    expect(frozen(agent.sys)).toEqual(['254:1']);
  });

  test('what somebody else thawed does not count; what somebody else froze is thawed too, as qemu-ga does', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze-list', { mountpoints: ['/', '/srv data'] });
    const data = agent.sys.filesystems.get('254:16');
    if (data !== undefined) data.frozen = 0;
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 1 });
    if (data !== undefined) data.frozen = 1;
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 1 });
  });

  test('a thaw that fails leaves the guest frozen and says so', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    const data = agent.sys.filesystems.get('254:16');
    if (data !== undefined) data.thawError = 5;
    expect(agent.call('guest-fsfreeze-thaw').error?.desc).toBe('failed to thaw /srv data: Input/output error');
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'frozen' });
    delete data?.thawError;
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 1 });
  });
});

describe('a freeze that hangs', () => {
  test('status says frozen, a thaw ends it, and what froze late is thawed', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    expect(agent.ask('{"execute":"guest-fsfreeze-freeze","id":1}')).toBe('');
    expect(agent.ask('{"execute":"guest-fsfreeze-status"}')).toBe('{"return": "frozen"}\n');
    agent.ask('{"execute":"guest-fsfreeze-thaw"}');
    agent.sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent).toBe('{"error": {"class": "GenericError", "desc": "guest-fsfreeze-thaw has ended the freeze"}, "id": 1}\n');
    expect(frozen(agent.sys)).toEqual([]);
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
  });

  test('a client that gives up or leaves takes its freeze with it', () => {
    for (const leave of [
      (it: AgentUnderTest) => it.dispatcher.clientLeft(),
      (it: AgentUnderTest) => it.ask('{"execute":"guest-sync","arguments":{"id":1}}'),
    ]) {
      const agent = new AgentUnderTest();
      agent.sys.holdWork = true;
      agent.ask('{"execute":"guest-fsfreeze-freeze"}');
      leave(agent);
      agent.sys.holdWork = false;
      agent.finishWork();
      expect(frozen(agent.sys)).toEqual([]);
      expect(agent.freezer.status).toBe('thawed');
    }
  });

  test('the watchdog thaws what is frozen already and the rest as soon as it can', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    agent.ask('{"execute":"guest-fsfreeze-freeze"}');
    agent.worker.finish(); // vfat, which cannot
    agent.worker.finish();
    expect(frozen(agent.sys)).toEqual(['254:16']); // and the next one hangs
    agent.wait(301);
    expect(frozen(agent.sys)).toEqual([]);
    agent.sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent).toContain('the watchdog has thawed the guest after 300 seconds, before all was frozen');
    expect(frozen(agent.sys)).toEqual([]);
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 0 });
  });
});

describe('watchdog', () => {
  test('thaws at its deadline; the late thaw answers an error once, then 0', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    agent.wait(299);
    expect(agent.freezer.status).toBe('frozen');
    agent.wait(2);
    expect(frozen(agent.sys)).toEqual([]);
    expect(agent.call('guest-fsfreeze-status')).toEqual({ return: 'thawed' });
    expect(agent.call('guest-fsfreeze-thaw').error).toEqual({
      class: 'GenericError',
      desc: 'the watchdog has thawed the guest after 300 seconds: what was copied since then is not consistent',
    });
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 0 });
    expect(agent.sys.files.has(markerPath)).toBe(false);
  });

  test('a value counts for one freeze, is renewed while frozen, and is the default again after the thaw', () => {
    const agent = new AgentUnderTest();
    const thawed = { 'default-seconds': 300, status: 'thawed' };
    expect(agent.call('virt-trim-set-watchdog', { seconds: 60 }).return).toEqual({ seconds: 60, 'previous-seconds': 300, ...thawed });
    agent.call('guest-fsfreeze-freeze');
    agent.wait(50);
    expect(agent.call('virt-trim-set-watchdog', { seconds: 90 }).return).toEqual({
      seconds: 90,
      'previous-seconds': 60,
      'default-seconds': 300,
      status: 'frozen',
      'remaining-ms': 90_000,
    });
    agent.wait(80);
    expect(agent.freezer.status).toBe('frozen');
    agent.call('guest-fsfreeze-thaw');
    expect(agent.call('virt-trim-set-watchdog').return).toEqual({ seconds: 300, 'previous-seconds': 300, ...thawed });
  });

  test.each([0, -1, 86_401, 1.5, '60', null])('refuses %j', (seconds) => {
    const agent = new AgentUnderTest();
    expect(agent.call('virt-trim-set-watchdog', { seconds }).error?.class).toBe('GenericError');
    expect(agent.freezer.setWatchdog(undefined).seconds).toBe(300);
  });

  test('a new freeze forgets that the old one expired', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    agent.wait(301);
    agent.call('guest-fsfreeze-freeze');
    expect(agent.call('guest-fsfreeze-thaw')).toEqual({ return: 2 });
  });

  test('tries again where the thaw fails', () => {
    const agent = new AgentUnderTest();
    agent.call('guest-fsfreeze-freeze');
    const data = agent.sys.filesystems.get('254:16');
    if (data !== undefined) data.thawError = 5;
    agent.wait(301);
    expect(agent.freezer.status).toBe('frozen');
    delete data?.thawError;
    agent.wait(6);
    expect(agent.freezer.status).toBe('thawed');
  });
});

describe('killed and started again', () => {
  const restart = (agent: AgentUnderTest): AgentUnderTest => new AgentUnderTest(agent.sys);

  test('still frozen, and its thaw counts the same', () => {
    const before = new AgentUnderTest();
    before.call('guest-fsfreeze-freeze');
    const after = restart(before);
    expect(after.call('guest-fsfreeze-status')).toEqual({ return: 'frozen' });
    expect(after.call('guest-fsfreeze-thaw')).toEqual({ return: 2 });
    expect(before.sys.files.has(markerPath)).toBe(false);
  });

  test('the deadline goes on', () => {
    const before = new AgentUnderTest();
    before.call('virt-trim-set-watchdog', { seconds: 30 });
    before.call('guest-fsfreeze-freeze');
    before.wait(20);
    const after = restart(before);
    after.wait(9);
    expect(after.freezer.status).toBe('frozen');
    after.wait(2);
    expect(after.freezer.status).toBe('thawed');
    // And that it expired outlives another restart.
    expect(restart(after).call('guest-fsfreeze-thaw').error?.desc).toContain('the watchdog has thawed');
    expect(restart(after).call('guest-fsfreeze-thaw')).toEqual({ return: 0 });
  });

  test('what no path leads to any more: the emergency thaw', () => {
    const before = new AgentUnderTest();
    before.sys.files.set('/proc/sysrq-trigger', '');
    before.call('guest-fsfreeze-freeze');
    before.sys.mounted.set('/srv data', '0:99');
    const after = restart(before);
    after.call('guest-fsfreeze-thaw');
    expect(before.sys.files.get('/proc/sysrq-trigger')).toBe('j');
    expect(after.freezer.status).toBe('thawed');
  });

  test('a marker that cannot be read still says frozen', () => {
    const sys = makeGuest();
    sys.files.set(markerPath, 'garbage');
    const agent = new AgentUnderTest(sys);
    expect(agent.freezer.status).toBe('frozen');
    agent.wait(301);
    expect(agent.freezer.status).toBe('thawed');
  });

  test('no marker is written where there is no tmpfs', () => {
    const sys = makeGuest();
    sys.filesystemTypes.set('/run', 0xef53);
    const agent = new AgentUnderTest(sys);
    agent.call('guest-fsfreeze-freeze');
    expect([...sys.files.keys()].filter((it) => it.endsWith('.frozen'))).toEqual([]);
  });
});
