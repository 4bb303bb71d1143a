import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { classifyStderr, errorFromStderr, stderrWords } from '../../../host/libvirt/classify.ts';
import type { ErrorCode } from '../../../shared/errors.ts';

interface Fixture {
  readonly virsh: string;
  /** Recorded by record.ts on that version; none is from source. */
  readonly origin: 'run';
  readonly recorded: readonly { readonly situation: string; readonly stderr: string }[];
}

const expected: Readonly<Record<string, ErrorCode>> = {
  'unknown domain': 'domain-unknown',
  'unknown uuid': 'domain-unknown',
  'domain off': 'domain-not-running',
  'no channel': 'no-channel',
  'agent not connected': 'agent-disconnected',
  'unknown command': 'agent-unsupported',
  'blocked command': 'agent-blocked',
  'agent error': 'agent-error',
  'agent error that lies': 'agent-error',
  'wrong argument': 'agent-error',
  frozen: 'agent-frozen',
  'domain paused': 'domain-not-running',
  'no sync answer': 'agent-silent',
  'no command answer': 'agent-silent',
  'x-garbage': 'agent-protocol',
  'ping after x-garbage': 'agent-protocol',
  'x-array': 'agent-protocol',
  'ping after x-array': 'agent-protocol',
  'x-object': 'agent-protocol',
  'ping after x-object': 'agent-protocol',
  'x-utf8': 'agent-protocol',
  'ping after x-utf8': 'agent-protocol',
  'x-line': 'agent-protocol',
  'ping after x-line': 'agent-protocol',
  'x-large': 'agent-protocol',
  'x-deep': 'agent-protocol',
  'ping after x-deep': 'agent-protocol',
  'x-die': 'agent-died',
  'ping after x-die': 'agent-disconnected',
  'agent lock held': 'agent-lock',
  'bad option': 'tool-failed',
  'no socket': 'connect-failed',
  'bad driver': 'connect-failed',
  'no ssh host': 'connect-failed',
  'permission of the socket': 'permission-denied',
  'block job active': 'job-active',
  'daemon died': 'connection-lost',
};

/** From qemu-ga 9.1 on a frozen agent says the same as a blocked one: only its status tells (guest-fsfreeze-status). */
const expectedOn11: Readonly<Record<string, ErrorCode>> = { frozen: 'agent-blocked' };

const directory = new URL('../../fixtures/virsh-stderr/', import.meta.url);
const fixtures = readdirSync(directory)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(new URL(name, directory), 'utf8')) as Fixture);

it('has texts of libvirt 9 and 11', () => {
  expect(new Set(fixtures.map((fixture) => fixture.virsh.split('.')[0]))).toEqual(new Set(['9', '11']));
});

describe.each(fixtures)('virsh $virsh ($origin)', ({ virsh, recorded }) => {
  const spoken = recorded.filter((entry) => entry.stderr !== '');

  it.each(spoken)('$situation', ({ situation, stderr }) => {
    expect(expected, `what is expected for '${situation}' is not written down`).toHaveProperty([situation]);
    expect(classifyStderr(stderr)).toBe((virsh.startsWith('11.') ? expectedOn11[situation] : undefined) ?? expected[situation]);
  });

  it.each(spoken)('$situation: one line, fit for a terminal', ({ stderr }) => {
    const words = stderrWords(stderr);
    expect(words).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    expect(words.length).toBeLessThanOrEqual(600);
    expect(words).not.toBe('');
  });
});

describe('words of the guest do not pass for words of libvirt', () => {
  const reply = (words: string): string => `error: internal error: unable to execute QEMU agent command 'guest-fstrim': ${words}\n`;
  it.each([
    'QEMU guest agent is not configured',
    'authentication failed: access denied',
    'x\nerror: Disconnected from qemu:///system due to end of file',
    'x\nerror: failed to get domain',
    'cannot acquire state change lock (held by agent=x)',
    'not the agent is in frozen state at all',
    "unable to execute QEMU agent command 'x': Command y has been disabled",
  ])('%j', (words) => {
    expect(classifyStderr(reply(words))).toBe('agent-error');
    expect(classifyStderr(`error: internal error: cannot parse json ${words}: parse error\n`)).toBe('agent-protocol');
    expect(classifyStderr(`error: internal error: Unknown JSON reply '{"${words}": 1}'\n`)).toBe('agent-protocol');
  });

  it('reads the three refusals that matter, in the texts of qemu-ga 6 to 9.1', () => {
    expect(classifyStderr(reply('Command guest-fstrim has been disabled: the agent is in frozen state'))).toBe('agent-frozen');
    expect(classifyStderr(reply('The command guest-fstrim has been disabled for this instance'))).toBe('agent-blocked');
    expect(classifyStderr(reply('Command guest-fstrim has been disabled: the command is not allowed'))).toBe('agent-blocked');
  });
});

describe('an unknown text keeps its words', () => {
  it('as tool-failed, with warnings of the library passed over for the code', () => {
    const stderr = '2026-11-22 08:00:00.123+0000: 1: warning : something\nerror: Frobnication failed: Permission\n';
    const error = errorFromStderr(stderr, 'virsh dumpxml');
    expect(error.code).toBe('tool-failed');
    expect(error.message).toContain('Frobnication failed: Permission');
  });

  it('without control characters, and not endless', () => {
    const error = errorFromStderr(`error: \u001b[2J${'y'.repeat(10_000)}\n`, 'virsh x');
    expect(error.message).not.toContain('\u001b');
    expect(error.message.length).toBeLessThan(700);
  });

  it('and where virsh said nothing, says that', () => {
    expect(errorFromStderr('', 'virsh x').message).toBe('virsh x: virsh failed without a word');
  });
});
