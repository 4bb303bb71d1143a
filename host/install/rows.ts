import { cleanText } from '../../shared/clean-text.ts';
import type { Column } from '../report/table.ts';
import type { AgentStatus, InstallResult } from './schema.ts';

export const installColumns: readonly Column[] = [
  { head: 'Name' },
  { head: 'Result' },
  { head: 'Way' },
  { head: 'Agent' },
  { head: 'Detail' },
];

/** One domain of `agent install` or `agent remove`. */
export function installRow(result: InstallResult): string[] {
  const agent = result.proof === null ? (result.agent ?? '-') : `${result.proof.kind} ${cleanText(result.proof.version, 40)}`;
  const word = result.status === 'ok' && result.code !== null ? result.code : result.status;
  return [cleanText(result.name), word, result.via ?? '-', agent, cleanText(result.reason ?? '', 400)];
}

/** The steps of one domain, for --dry-run and where something failed. */
export function stepLines(result: InstallResult): string[] {
  return result.steps.map(
    (step, index) =>
      `  ${index + 1}. ${cleanText(step.title, 400)}${step.status === 'planned' || step.status === 'done' ? '' : ` [${step.status}]`}`,
  );
}

export const statusColumns: readonly Column[] = [
  { head: 'Name' },
  { head: 'State' },
  { head: 'Channel' },
  { head: 'Agent' },
  { head: 'OS' },
  { head: 'Could be installed by' },
];

function channelCell(status: AgentStatus): string {
  const { channel } = status;
  if (channel === null) return '-';
  if (channel.needsColdStart) return 'needs a cold start';
  if (channel.live === null) return channel.persistent === true ? 'configured' : 'none';
  if (!channel.live) return 'none';
  return channel.connected ? 'connected' : 'not connected';
}

function agentCell({ agent }: AgentStatus): string {
  if (agent === null || agent.answering === null)
    return agent?.kind === null || agent === null ? '-' : `${agent.kind} ${agent.version ?? ''} (last known)`;
  return agent.answering ? `${agent.kind ?? 'unknown'} ${agent.version ?? ''}`.trim() : 'silent';
}

export function statusRow(status: AgentStatus): string[] {
  const possible = status.ways.filter((way) => way.possible).map((way) => way.way);
  const needs = status.ways.filter((way) => !way.possible && way.reason.startsWith('needs ')).map((way) => `${way.way} (${way.reason})`);
  const installable = status.agent?.answering === true ? '-' : [...possible, ...needs].join(', ') || 'no way now';
  return [
    cleanText(status.name),
    status.state ?? 'unreadable',
    channelCell(status),
    agentCell(status),
    cleanText(status.os ?? '-', 40),
    installable,
  ];
}

const namesShown = 8;

/** A defect each, with those that have it: two dozen guests of one distribution have the same. */
export function defectNotes(statuses: readonly AgentStatus[]): string[] {
  const byMessage = new Map<string, string[]>();
  for (const { name, defects } of statuses)
    for (const { message } of defects) byMessage.set(message, [...(byMessage.get(message) ?? []), cleanText(name)]);
  return [...byMessage].map(([message, names]) => {
    const more = names.length > namesShown ? ` and ${names.length - namesShown} more` : '';
    return `${names.slice(0, namesShown).join(', ')}${more}: ${message}`;
  });
}

/** What stands below the table: what is unfinished, what failed. */
export function statusNotes(status: AgentStatus): string[] {
  const name = cleanText(status.name);
  return [
    ...(status.reason === null ? [] : [`${name}: ${cleanText(status.reason, 400)}`]),
    ...(status.interrupted === null ? [] : [`${name}: ${cleanText(status.interrupted, 400)}`]),
    ...(status.installed !== null && status.installed.agent !== null && !status.installed.proven
      ? [`${name}: installed ${status.installed.at} by ${status.installed.via}, not proven yet; run: virt-trim agent install`]
      : []),
  ];
}
