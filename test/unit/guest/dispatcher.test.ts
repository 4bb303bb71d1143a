import { describe, expect, test } from 'vitest';
import { AgentUnderTest } from './agent-under-test.ts';
import { makeGuest } from './fake-sys.ts';

const generic = (desc: string): string => `{"error": {"class": "GenericError", "desc": "${desc}"}}\n`;

describe("the envelope, in qemu-ga 7.2's words", () => {
  test.each([
    ['{"execute":"guest-ping"}', '{"return": {}}\n'],
    ['{"execute":"guest-ping","id":"a"}', '{"return": {}, "id": "a"}\n'],
    ['{"execute":"guest-ping","id":null}', '{"return": {}, "id": null}\n'],
    ['{"execute":"guest-sync","arguments":{"id":9223372036854775807}}', '{"return": 9223372036854775807}\n'],
    ['{"execute":"guest-sync","arguments":{"id":-9223372036854775808}}', '{"return": -9223372036854775808}\n'],
    ['{"execute":"guest-sync-delimited","arguments":{"id":7}}', '\xff{"return": 7}\n'],
    ['{"execute":"guest-sync-delimited","arguments":{"id":"7"}}', generic(`Invalid parameter type for 'id', expected: integer`)],
    ['{"execute":"guest-sync","arguments":{"id":9223372036854775808}}', generic(`Invalid parameter type for 'id', expected: integer`)],
    ['{"execute":"guest-sync","arguments":{"id":1.0}}', generic(`Invalid parameter type for 'id', expected: integer`)],
    ['{"execute":"guest-sync"}', generic(`Parameter 'id' is missing`)],
    ['{"execute":"guest-sync","arguments":{"id":1,"foo":2}}', generic(`Parameter 'foo' is unexpected`)],
    ['{"execute":"guest-ping","arguments":{"foo":42}}', generic(`Parameter 'foo' is unexpected`)],
    ['{"execute":"guest-sync","arguments":[1]}', generic(`QMP input member 'arguments' must be an object`)],
    ['{"execute":1}', generic(`QMP input member 'execute' must be a string`)],
    ['{"exec-oob":"guest-ping"}', generic(`QMP input member 'exec-oob' is unexpected`)],
    ['{}', generic(`QMP input lacks member 'execute'`)],
    ['[]', generic('QMP input must be a JSON object')],
    ['{"execute":"guest-exec"}', '{"error": {"class": "CommandNotFound", "desc": "The command guest-exec has not been found"}}\n'],
    [
      '{"execute":"guest-fsfreeze-freeze-list","arguments":{"mountpoints":[1]}}',
      generic(`Invalid parameter type for 'mountpoints[0]', expected: string`),
    ],
    [
      '{"execute":"guest-fsfreeze-freeze-list","arguments":{"mountpoints":{}}}',
      generic(`Invalid parameter type for 'mountpoints', expected: array`),
    ],
  ])('%s', (request, answer) => {
    expect(new AgentUnderTest().ask(request)).toBe(answer);
  });

  test('an error carries the id, and no FF', () => {
    const answer = new AgentUnderTest().ask('{"execute":"guest-sync-delimited","id":[1]}');
    expect(answer).toBe(`{"error": {"class": "GenericError", "desc": "Parameter 'id' is missing"}, "id": [1]}\n`);
  });

  test('a blocked command is there, but disabled', () => {
    const agent = new AgentUnderTest(makeGuest(), ['guest-ping']);
    expect(agent.call('guest-ping').error).toEqual({ class: 'CommandNotFound', desc: 'Command guest-ping has been disabled' });
    expect(agent.call('guest-info').return).toMatchObject({
      supported_commands: expect.arrayContaining([{ name: 'guest-ping', enabled: false, 'success-response': true }]),
    });
  });
});

describe('beside a job', () => {
  const trim = '{"execute":"guest-fstrim","id":"trim"}';

  test('ping and status are answered while a trim runs; its own answer comes later', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    expect(agent.ask(trim)).toBe('');
    expect(agent.ask('{"execute":"guest-ping"}{"execute":"guest-fsfreeze-status"}')).toBe('{"return": {}}\n{"return": "thawed"}\n');
    agent.sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent).toContain('"id": "trim"');
  });

  test('anything else waits for its end', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    agent.ask(trim);
    expect(agent.ask('{"execute":"guest-get-host-name"}')).toBe('');
    agent.sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent.split('\n')).toEqual([expect.stringContaining('"id": "trim"'), '{"return": {"host-name": "guest"}}', '']);
  });

  test('a client that synchronises has given up: no late answer can be taken for another', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    agent.ask(trim);
    agent.ask('{"execute":"guest-get-host-name"}');
    expect(agent.ask('{"execute":"guest-sync","arguments":{"id":5}}')).toBe('{"return": 5}\n');
    agent.sys.holdWork = false;
    agent.sent = '';
    agent.finishWork();
    expect(agent.sent).toBe('');
    expect(agent.call('guest-ping')).toEqual({ return: {} });
  });

  test('so has one that left, and a freeze of its that only waited never happens', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    agent.ask(trim);
    agent.ask('{"execute":"guest-fsfreeze-freeze"}');
    agent.dispatcher.clientLeft();
    agent.sys.holdWork = false;
    agent.finishWork();
    expect(agent.sys.done.filter((it) => it.startsWith('freeze'))).toEqual([]);
  });

  test('too many requests that wait are refused', () => {
    const agent = new AgentUnderTest();
    agent.sys.holdWork = true;
    agent.ask(trim);
    const answers = agent.ask('{"execute":"guest-get-host-name"}'.repeat(70));
    expect(answers.split('\n').length - 1).toBe(6);
    expect(answers).toContain('too many requests wait');
  });
});

test('a request that begins where another was left by halves is no part of it', () => {
  const agent = new AgentUnderTest();
  expect(agent.ask('{"execute":"guest-get-host-name","id":"x')).toBe('');
  expect(agent.ask('{"execute":"guest-sync","arguments":{"id":5}}')).toBe('{"return": 5}\n');
});

test('guest-info names the vendor command, and the version is ours', () => {
  const info = new AgentUnderTest().call('guest-info').return as { version: string; supported_commands: { name: string }[] };
  expect(info.supported_commands.map((it) => it.name)).toContain('virt-trim-set-watchdog');
  expect(info.version).toBe('0.0.0'); // put in by the build
});
