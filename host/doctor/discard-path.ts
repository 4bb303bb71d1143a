import type { DiskDescription, DomainDescription } from '../libvirt/domain-xml.ts';
import type { Finding, Verdict } from './finding.ts';
import { isTrimmable } from './subject.ts';
import type { Version } from './version.ts';
import { judgeXml } from './xml-rules.ts';

/** Whether a discard of this disk can get through, as far as the XML decides. */
export interface DiscardPath {
  readonly verdict: Verdict;
  /** False for a CD, a floppy, a read-only disk and an empty drive: nothing to trim, and nothing wrong. */
  readonly applies: boolean;
  /** The rule that decided, for `doctor`'s table and docs/doctor.md. */
  readonly rule: string;
  readonly message: string;
  /** The fact it stands on, as found in the XML. */
  readonly evidence: string;
  /** What to do about it; null where nothing can or need be done. */
  readonly fixCommand: string | null;
  readonly findings: readonly Finding[];
}

export interface DiscardPathOptions {
  /** QEMU's version, where known: decides machine types without a version of their own. */
  readonly qemu?: Version | null;
  readonly machineTypes?: readonly string[];
}

/** Most important first; among equals the layer nearest to the guest explains the rest. */
const order: readonly Verdict[] = ['blocks', 'warning', 'unknown', 'ok'];

/**
 * Explains a disk's discard path from the domain XML alone: no process, no file, no guest. Give it the live description of a running
 * domain, for that is what its QEMU was started with.
 */
export function explainDiscardPath(domain: DomainDescription, disk: DiskDescription, options: DiscardPathOptions = {}): DiscardPath {
  if (!isTrimmable(disk)) {
    const what = disk.readonly ? 'read-only' : disk.source === null ? 'an empty drive' : `a ${disk.device}`;
    return {
      verdict: 'ok',
      applies: false,
      rule: 'not-trimmable',
      message: `${disk.target} is ${what}`,
      evidence: what,
      fixCommand: null,
      findings: [],
    };
  }
  const findings = judgeXml({ domain, disk, qemu: options.qemu ?? null, machineTypes: options.machineTypes ?? [] });
  const decisive = order.flatMap((verdict) => findings.find((finding) => finding.verdict === verdict) ?? [])[0];
  if (decisive === undefined || decisive.verdict === 'ok') {
    return {
      verdict: 'ok',
      applies: true,
      rule: 'discard-path',
      message: 'discards reach the image',
      evidence: '',
      fixCommand: null,
      findings,
    };
  }
  const { verdict, rule, message, evidence, fix } = decisive;
  return { verdict, applies: true, rule, message, evidence, fixCommand: fix?.command ?? null, findings };
}
