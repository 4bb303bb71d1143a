import { isoLine, offlineDisks, judgeWays, type Attempt, type Plan } from './plan.ts';
import type { Situation } from './situation.ts';
import type { Step } from './steps.ts';
import type { Way } from './ways.ts';

export interface RemoveOptions {
  /** Null: by a way that is possible now. */
  readonly via: Way | null;
  readonly ssh: string | null;
}

function steps(via: Way, situation: Situation, options: RemoveOptions): Step[] {
  const drop: Step[] =
    situation.receipt?.channel.live === true || situation.receipt?.channel.config === true ? [{ kind: 'drop-channel' }] : [];
  switch (via) {
    case 'offline':
      return [
        { kind: 'overlay', disks: offlineDisks(situation) },
        { kind: 'change-image', verb: 'remove', agent: null },
        { kind: 'commit-image' },
        ...drop,
      ];
    case 'ssh':
      return [{ kind: 'run-ssh', verb: 'remove', destination: options.ssh ?? '', agent: null }, ...drop];
    default:
      return [
        { kind: 'attach-iso', verb: 'remove', iso: null },
        { kind: 'ask-console', line: isoLine },
        { kind: 'await-gone' },
        { kind: 'eject' },
        ...drop,
      ];
  }
}

const removeWays: readonly Way[] = ['offline', 'ssh', 'iso'];

/** Decides how to take away what an install brought. Without a receipt nothing is ours to take. */
export function planRemove(situation: Situation, options: RemoveOptions): Plan {
  const { receipt, domain } = situation;
  if (receipt === null)
    return {
      verdict: 'refused',
      code: 'not-ours',
      reason: 'virt-trim has installed nothing in it (no receipt in this state directory); its agent is left alone',
      neutral: true,
    };
  if (domain.manager !== null)
    return { verdict: 'refused', code: 'refused', reason: `its XML belongs to ${domain.manager}`, neutral: true };
  if (receipt.agent === null)
    return { verdict: 'go', attempts: [{ via: 'iso', agent: null, steps: [{ kind: 'drop-channel' }], pending: null }] };
  const verdicts = judgeWays(situation, {
    via: options.via,
    agent: null,
    packages: [],
    ssh: options.ssh,
    iso: null,
    boot: false,
    upgrade: false,
    print: false,
  });
  const wanted = options.via === null ? ['offline', 'ssh'] : [options.via];
  const found = verdicts.find((verdict) => wanted.includes(verdict.way) && verdict.possible && removeWays.includes(verdict.way as Way));
  if (found === undefined) {
    const reasons = verdicts
      .filter(({ way }) => removeWays.includes(way as Way))
      .map(({ way, possible, reason }) => `${way}: ${possible ? `possible with --via ${way}` : reason}`);
    return { verdict: 'refused', code: 'no-way', reason: `it cannot be removed now: ${reasons.join('; ')}`, neutral: false };
  }
  const via = found.way as Way;
  const attempt: Attempt = { via, agent: receipt.agent, steps: steps(via, situation, options), pending: null };
  return { verdict: 'go', attempts: [attempt] };
}
