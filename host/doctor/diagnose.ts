import type { DomainCase } from './gather/gather.ts';
import type { DiskFacts, HostFacts } from './facts.ts';
import { judgeDisk, judgeDomain, judgeHost } from './fact-rules.ts';
import { worstVerdict, type Finding, type Verdict } from './finding.ts';
import { domainArgument, isTrimmable } from './subject.ts';
import { judgeXml } from './xml-rules.ts';

export interface DiskDiagnosis {
  readonly target: string;
  readonly source: string | null;
  readonly verdict: Verdict;
}

export interface Diagnosis {
  readonly name: string;
  readonly uuid: string;
  readonly verdict: Verdict;
  readonly disks: readonly DiskDiagnosis[];
  readonly findings: readonly Finding[];
}

/** All rules over one domain's facts. Pure. */
export function diagnose({ facts, disks }: DomainCase): Diagnosis {
  const ofDisks = disks.map((disk) => ({ disk, findings: [...judgePath(disk), ...judgeDisk(disk)] }));
  const ofDomain = judgeDomain(facts);
  const findings = [...ofDisks.flatMap((one) => one.findings), ...ofDomain];
  return {
    name: facts.domain.name,
    uuid: facts.domain.uuid,
    verdict: disks.length === 0 && ofDomain.length === 0 ? 'ok' : worstVerdict(findings.map((finding) => finding.verdict)),
    disks: ofDisks.map(({ disk, findings: own }) => ({
      target: disk.disk.target,
      source: disk.disk.source,
      verdict: worstVerdict(own.map((finding) => finding.verdict)),
    })),
    findings,
  };
}

export function diagnoseHost(host: HostFacts): Finding[] {
  return judgeHost(host);
}

/** The XML rules over what runs now and over what the next start will use, put together. */
function judgePath(facts: DiskFacts): Finding[] {
  const now = judgeXml(facts);
  const { next } = facts.domainFacts;
  const nextDisk = next?.disks.find((disk) => disk.target === facts.disk.target && isTrimmable(disk));
  if (next === null || nextDisk === undefined) return now;
  const later = new Map(judgeXml({ ...facts, domain: next, disk: nextDisk }).map((finding) => [finding.rule, finding]));
  const known = new Set(now.map((finding) => finding.rule));
  const appearing = [...later.values()].filter(
    (finding) => !known.has(finding.rule) && finding.verdict === 'blocks' && isComparable(finding.rule),
  );
  return [...now.map((finding) => compare(finding, later.get(finding.rule), facts)), ...appearing.map(announce)];
}

/** The configuration of a running domain never lists its chain; that is no difference. */
function isComparable(rule: string): boolean {
  return rule !== 'backing-chain';
}

function compare(now: Finding, later: Finding | undefined, facts: DiskFacts): Finding {
  if (!isComparable(now.rule)) return now;
  if (now.verdict === 'blocks' && (later === undefined || later.verdict === 'ok')) {
    const name = domainArgument(facts.domain);
    return {
      ...now,
      evidence: `${now.evidence} (as it runs now; the configuration: ${later?.evidence ?? 'without it'})`,
      message: `${now.message}. The configuration is right already: it takes effect when the domain has been shut down and started again`,
      fix: { command: `virsh shutdown ${name}; when it is off: virsh start ${name}`, automatic: false, needsColdStart: true },
    };
  }
  return now.verdict === 'ok' && later?.verdict === 'blocks' ? announce(later) : now;
}

function announce(later: Finding): Finding {
  return { ...later, verdict: 'warning', message: `works as it runs now, and no longer after the next cold start: ${later.message}` };
}
