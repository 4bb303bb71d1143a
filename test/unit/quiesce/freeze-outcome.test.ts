import { expect, it } from 'vitest';
import { errorCodes } from '../../../shared/errors.ts';
import { freezeFailure } from '../../../host/quiesce/freeze-outcome.ts';

it('takes only errors for harmless that libvirt or the agent give before anything is frozen', () => {
  const harmless = errorCodes.filter((code) => !['unknown', 'answered'].includes(freezeFailure(code)));
  expect(harmless.toSorted()).toEqual(
    [
      'agent-frozen',
      'agent-blocked',
      'agent-unsupported',
      'no-channel',
      'agent-disconnected',
      'agent-lock',
      'domain-lock',
      'domain-not-running',
      'domain-unknown',
      'permission-denied',
    ].toSorted(),
  );
});

it.each(['agent-silent', 'agent-died', 'connection-lost', 'connect-timeout', 'tool-failed', 'internal'] as const)(
  'does not know what has become of a freeze that ended with %s',
  (code) => {
    expect(freezeFailure(code)).toBe('unknown');
  },
);

it("never takes somebody else's freeze for ours", () => {
  expect(freezeFailure('agent-frozen')).toBe('foreign');
  expect(freezeFailure('agent-blocked')).toBe('ask');
});
