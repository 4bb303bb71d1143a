/** What a rule can say. `unknown` is said whenever the facts do not decide; its message tells how to find out. */
export const verdicts = ['ok', 'warning', 'blocks', 'unknown'] as const;
export type Verdict = (typeof verdicts)[number];

/** Where in the path of a discard a rule looks, in the order of that path. */
export const layers = ['guest', 'bus', 'driver', 'image', 'host', 'agent'] as const;
export type Layer = (typeof layers)[number];

export interface Fix {
  /** A command that an administrator can paste, or a sentence where no single command does it. */
  readonly command: string;
  /** `virt-trim fix` does it. */
  readonly automatic: boolean;
  /** Takes effect only after the domain was shut down and started again; a reboot inside the guest is not enough. */
  readonly needsColdStart: boolean;
}

/** What a rule answers; the engine adds who said it and about which disk. */
export interface Judgement {
  readonly verdict: Verdict;
  /** The fact it stands on, as it was found. */
  readonly evidence: string;
  /** The consequence for a trim, in a sentence. */
  readonly message: string;
  readonly fix?: Fix | undefined;
}

export interface Finding extends Omit<Judgement, 'fix'> {
  readonly rule: string;
  readonly layer: Layer;
  /** Target name, or null where it concerns the whole domain or host. */
  readonly disk: string | null;
  readonly fix: Fix | null;
}

const weights: Readonly<Record<Verdict, number>> = { ok: 0, unknown: 1, warning: 2, blocks: 3 };

/** The verdict that a reader has to know about first: blocks, then warning, then unknown. No findings are `unknown`. */
export function worstVerdict(found: readonly Verdict[]): Verdict {
  let worst: Verdict | null = null;
  for (const verdict of found) if (worst === null || weights[verdict] > weights[worst]) worst = verdict;
  return worst ?? 'unknown';
}

export function toFinding(rule: { readonly id: string; readonly layer: Layer }, disk: string | null, judgement: Judgement): Finding {
  return { ...judgement, rule: rule.id, layer: rule.layer, disk, fix: judgement.fix ?? null };
}
