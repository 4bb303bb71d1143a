import { consistencyAfterThaw, type Verdict } from './consistency.ts';
import type { ThawOutcome } from './thaw.ts';

/**
 * The consistency of a window that another process opened (`freeze`, `hook pre`). That process has checked what was frozen against what can
 * be; here the question is whether it stayed so.
 */
export function adoptedVerdict(frozenCount: number, outcome: ThawOutcome): Verdict {
  return consistencyAfterThaw({ frozenCount, expectedCount: null, mountpoints: null, isWindows: false }, outcome);
}
