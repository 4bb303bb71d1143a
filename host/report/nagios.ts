import { cleanText } from '../../shared/clean-text.ts';
import { formatDuration } from '../../shared/units.ts';
import type { Monitored } from './monitor.ts';

/** Exit statuses of a Nagios plugin (Monitoring Plugins Development Guidelines). */
export const nagiosStatus = { ok: 0, warning: 1, critical: 2, unknown: 3 } as const;

export interface NagiosLimits {
  /** A guest frozen longer than this is critical. */
  readonly frozenSeconds: number;
  /** A storage that is full within this time is a warning; within a third of it, critical. */
  readonly fullSeconds: number;
}

export interface NagiosAnswer {
  readonly status: number;
  /** One line, perfdata behind the bar. */
  readonly line: string;
}

interface Problem {
  readonly level: 1 | 2;
  readonly text: string;
}

/** A bar or a line break would end the text; a quote would confuse perfdata. */
function plain(text: string): string {
  return cleanText(text, 80).replace(/[|'`]/g, '_');
}

function list(names: readonly string[]): string {
  return `${names.slice(0, 5).map(plain).join(', ')}${names.length > 5 ? ' …' : ''}`;
}

function findProblems({ at, domains, storages, unreadable }: Monitored, limits: NagiosLimits): Problem[] {
  const problems: Problem[] = [];
  const add = (level: Problem['level'], names: readonly string[], text: string): void => {
    if (names.length > 0) problems.push({ level, text: `${names.length} ${text} (${list(names)})` });
  };
  const frozen = domains.filter((domain) => domain.frozen === true);
  const tooLong = frozen.filter((domain) => domain.frozenSince === null || at - domain.frozenSince > limits.frozenSeconds * 1000);
  const names = (some: typeof domains): string[] => some.map((domain) => domain.name);
  add(2, names(tooLong), `frozen for more than ${formatDuration(limits.frozenSeconds * 1000)} or by somebody else`);
  const days = (storage: Monitored['storages'][number]): number =>
    storage.fullAt === null ? Infinity : (Date.parse(storage.fullAt) - at) / 1000;
  const soon = storages.filter((storage) => days(storage) < limits.fullSeconds / 3);
  const later = storages.filter((storage) => days(storage) < limits.fullSeconds && !soon.includes(storage));
  const storageNames = (some: Monitored['storages']): string[] => some.map((storage) => storage.name);
  add(2, storageNames(soon), `full within ${formatDuration((limits.fullSeconds * 1000) / 3)}`);
  add(1, storageNames(later), `full within ${formatDuration(limits.fullSeconds * 1000)}`);
  add(1, names(domains.filter((domain) => domain.agentUp === false)), 'without an agent that answers');
  add(1, names(domains.filter((domain) => domain.verdict === 'blocks' && domain.agentUp !== false)), 'whose discards do not get through');
  add(1, storageNames(storages.filter((storage) => (storage.overcommittedBytes ?? 0) > 0)), 'overcommitted');
  add(1, unreadable, 'that could not be read');
  return problems;
}

/** Judges what was gathered. Pure. */
export function judgeNagios(monitored: Monitored, limits: NagiosLimits): NagiosAnswer {
  const { domains, storages } = monitored;
  const problems = findProblems(monitored, limits);
  const status = problems.reduce<number>((worst, problem) => Math.max(worst, problem.level), nagiosStatus.ok);
  const word = ['OK', 'WARNING', 'CRITICAL'][status] ?? 'UNKNOWN';
  const running = domains.filter((domain) => domain.running).length;
  const text =
    problems.length === 0
      ? `${running} of ${domains.length} domains run, none frozen, all agents answer`
      : problems.map((problem) => problem.text).join('; ');
  const count = (test: (domain: (typeof domains)[number]) => boolean): number => domains.filter(test).length;
  const perfdata = [
    `domains=${domains.length}`,
    `running=${running}`,
    `agents_down=${count((domain) => domain.agentUp === false)};0`,
    `frozen=${count((domain) => domain.frozen === true)}`,
    `doctor_blocks=${count((domain) => domain.verdict === 'blocks')};0`,
    `overcommitted=${storages.reduce((sum, storage) => sum + (storage.overcommittedBytes ?? 0), 0)}B;0`,
    `reclaimed=${domains.reduce((sum, domain) => sum + domain.reclaimedTotalBytes, 0)}B`,
  ];
  return { status, line: `VIRT-TRIM ${word} - ${text} | ${perfdata.join(' ')}` };
}
