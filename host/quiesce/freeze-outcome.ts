import type { ErrorCode } from '../../shared/errors.ts';

/**
 * What the failure of our own freeze call means for the guest.
 * - `foreign`: the agent refused because it is frozen; not by us, because it had said `thawed`. Never thaw it.
 * - `ask`: refused, but since qemu-ga 9.1 "frozen" and "blocked" have one text: the status tells.
 * - `never-sent`: libvirt gave up before the agent saw anything.
 * - `answered`: the agent answered with an error. It thaws what it had frozen; one verified `thawed` is final.
 * - `unknown`: no answer. The freeze may have landed, or land later.
 */
export type FreezeFailure = 'foreign' | 'ask' | 'never-sent' | 'answered' | 'unknown';

const meanings: Partial<Record<ErrorCode, FreezeFailure>> = {
  'agent-frozen': 'foreign',
  'agent-blocked': 'ask',
  'agent-error': 'answered',
  'agent-unsupported': 'never-sent',
  'no-channel': 'never-sent',
  'agent-disconnected': 'never-sent',
  'agent-lock': 'never-sent',
  'domain-lock': 'never-sent',
  'domain-not-running': 'never-sent',
  'domain-unknown': 'never-sent',
  'permission-denied': 'never-sent',
};

/** Whatever is not known to be harmless is `unknown`. */
export function freezeFailure(code: ErrorCode): FreezeFailure {
  return meanings[code] ?? 'unknown';
}
