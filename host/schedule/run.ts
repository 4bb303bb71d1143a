import { statusOfOutcomes } from '../commands/exit-status.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { Hypervisor } from '../daemon/hypervisor.ts';
import { urisOf } from '../daemon/limits.ts';
import { newSources, planFleet, type Planned } from '../daemon/planner.ts';
import { readStatus, type DaemonStatus } from '../daemon/status.ts';
import { loadConfig } from '../policy/config.ts';
import { selectItems } from '../policy/select.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { AppError } from '../../shared/errors.ts';
import { explainSchedule, scheduleColumns, scheduleRows } from './rows.ts';
import type { ScheduleResult } from './schema.ts';

export interface ScheduleOptions {
  readonly words: readonly string[];
  /** Runs to show for each domain. */
  readonly next: number;
}

/** `virt-trim schedule`: changes nothing and needs no daemon; where one runs, says what it is doing. @returns the exit status. */
export async function runSchedule(context: CommandContext, options: ScheduleOptions): Promise<number> {
  const startedAt = new Date();
  const config = await loadConfig(context.env);
  const hypervisors = urisOf(context.uris, config).map((uri) => new Hypervisor(uri));
  await Promise.all(hypervisors.map((hypervisor) => hypervisor.look(context.signal)));
  const down = hypervisors.flatMap((hypervisor) => hypervisor.down ?? []);
  const [firstDown] = down;
  if (firstDown !== undefined && down.length === hypervisors.length) throw firstDown;
  for (const error of down) context.log.error(error.message);
  const planned = await planFleet(hypervisors, newSources(config, context.env));
  const status = await readStatus(stateDirectory(context.env));
  const now = Date.now();
  const results = choose(options.words, planned)
    .map((each) => describe(each, status, now, options.next))
    .sort((a, b) => (a.next[0]?.at ?? '~').localeCompare(b.next[0]?.at ?? '~') || a.name.localeCompare(b.name));
  const broken = statusOfOutcomes(results.map((result) => (result.status === 'failed' ? 'failed' : 'ok')));
  const exit = broken === exitStatus.done && down.length > 0 ? exitStatus.someFailed : broken;
  if (context.json) {
    const daemon = status === null ? null : { pid: status.pid, ioPressure: status.ioPressure, counts: status.counts };
    printEnvelope({ ...context, uri: hypervisors.map(({ name }) => name).join(' ') }, 'schedule', startedAt, exit, results, { daemon });
    return exit;
  }
  context.out(`${renderTable(scheduleColumns, results.flatMap(scheduleRows))}\n`);
  if (status === null) context.say("no daemon runs: nothing of this happens by itself ('virt-trim daemon', or its systemd timer)");
  return exit;
}

function choose(words: readonly string[], planned: readonly Planned[]): Planned[] {
  const items = planned.map((each) => ({
    name: each.target.name,
    uuid: each.target.uuid,
    tags: each.policy === null ? [] : each.policy.tags.value,
    each,
  }));
  const chosen = selectItems(words, items).map((item) => item.each);
  if (chosen.length === 0 && words.length > 0) throw new AppError('domain-unknown', `no domain matches ${words.join(' ')}`);
  return chosen;
}

function describe({ target, policy }: Planned, status: DaemonStatus | null, now: number, count: number): ScheduleResult {
  const { timetable } = target;
  const iso = (time: number): string => new Date(time).toISOString();
  const result: ScheduleResult = {
    name: target.name,
    uuid: target.uuid,
    hypervisor: target.hypervisor,
    status: policy === null ? 'failed' : timetable === null ? 'excluded' : 'scheduled',
    code: policy === null ? 'config' : null,
    reason: target.excluded ?? '',
    schedule: timetable?.settings.schedule ?? null,
    timeZone: timetable?.settings.timeZone ?? null,
    windowSeconds: timetable === null ? null : timetable.settings.windowMs / 1000,
    splaySeconds: timetable === null ? null : timetable.splayMs / 1000,
    maintenance: timetable?.settings.maintenance ?? null,
    backends: [...target.backends],
    next: timetable === null ? [] : timetable.list(now, count).map(({ due, at }) => ({ due: iso(due), at: iso(at) })),
    now: status === null ? null : doingNow(target.uuid, status),
  };
  if (timetable === null || policy === null) return result;
  const { kind, place } = policy.schedule.origin;
  return { ...result, reason: explainSchedule(result, kind === 'default' ? 'the default' : place) };
}

function doingNow(uuid: string, status: DaemonStatus): ScheduleResult['now'] {
  if (status.running.some((each) => each.uuid === uuid)) return { state: 'running', detail: null };
  const waiting = status.waiting.find((each) => each.uuid === uuid);
  if (waiting !== undefined) return { state: 'waiting', detail: `waits for ${waiting.for}` };
  const planned = status.planned.find((each) => each.uuid === uuid);
  if (planned === undefined) return null;
  return { state: planned.why === 'retry' ? 'retry' : 'catch-up', detail: `at ${planned.at}` };
}
