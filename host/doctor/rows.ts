import { cleanText } from '../../shared/clean-text.ts';
import { worstVerdict, type Finding, type Verdict } from './finding.ts';
import type { DoctorResult } from './schema.ts';

const marks: Readonly<Record<Verdict, string>> = { ok: 'ok', warning: 'warning', blocks: 'BLOCKS', unknown: 'unknown' };
const colors: Readonly<Record<Verdict, string>> = { ok: '\u001b[32m', warning: '\u001b[33m', blocks: '\u001b[31m', unknown: '\u001b[36m' };

export interface DoctorText {
  readonly color: boolean;
  /** Show what is in order too. */
  readonly all: boolean;
}

function mark(verdict: Verdict, color: boolean): string {
  return color ? `${colors[verdict]}${marks[verdict]}\u001b[0m` : marks[verdict];
}

function findingLines(finding: Finding, text: DoctorText): string[] {
  const head = `  ${mark(finding.verdict, text.color)}  ${finding.disk ?? 'domain'}, ${finding.layer}: ${cleanText(finding.message, 600)}`;
  const cold = finding.fix?.needsColdStart === true ? ' (takes effect after a full stop and start)' : '';
  return [
    head,
    `      seen: ${cleanText(finding.evidence, 400)}  [${finding.rule}]`,
    ...(finding.fix === null ? [] : [`      fix:  ${cleanText(finding.fix.command, 400)}${cold}`]),
  ];
}

/** One domain for a person: a line per disk, and below it what stands in the way. */
export function doctorLines(result: DoctorResult, text: DoctorText): string[] {
  if (result.status === 'failed') return [`${cleanText(result.name)}: could not be examined: ${cleanText(result.reason ?? '', 400)}`];
  const disks = result.disks.map((disk) => `${disk.target} ${marks[disk.verdict]}`).join(', ');
  const head = `${cleanText(result.name)}: ${mark(result.verdict, text.color)}${disks === '' ? ', no disk to trim' : ` (${disks})`}`;
  const shown = result.findings.filter((finding) => text.all || finding.verdict !== 'ok');
  return [head, ...shown.flatMap((finding) => findingLines(finding, text))];
}

/** `--check`: one line. */
export function checkLine(results: readonly DoctorResult[]): string {
  const count = (verdict: Verdict): number => results.filter((result) => result.status === 'ok' && result.verdict === verdict).length;
  const failed = results.filter((result) => result.status === 'failed').length;
  const blocked = results.filter((result) => result.verdict === 'blocks').map((result) => cleanText(result.name, 60));
  const names = blocked.length === 0 ? '' : `: ${blocked.slice(0, 20).join(', ')}${blocked.length > 20 ? ', …' : ''}`;
  const worst = worstVerdict(results.map((result) => result.verdict));
  return `${marks[worst]}: ${count('blocks')} blocked${names}; ${count('warning')} with warnings, ${count('unknown')} unknown, ${count('ok')} ok, ${failed} not examined`;
}
