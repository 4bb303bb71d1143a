import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../host/demo/guest.ts';
import { combine, healthyAgent } from '../rig/agent-scripts.ts';
import type { LoopBackend } from '../rig/backends.ts';
import type { Rig } from '../rig/rig.ts';
import { answer, type ScriptedAgent } from '../rig/scripted-agent.ts';
import type { Workplace } from './measure.ts';

export const perBackend = 2;
/** Twelve on each of two hypervisors, six of them on each of two backends; every other one with an agent whose trim takes a known time. */
const perPlace = 6;

export interface Member {
  readonly guest: Guest;
  readonly rig: Rig;
  readonly backend: number;
  readonly agent: ScriptedAgent | null;
  /** How long its trim takes, where that is known beforehand. */
  readonly trimMs: number;
}

/** Names of guests whose agent never answers the next trim. */
export const hanging = new Set<string>();

async function addMember(rig: Rig, backends: readonly LoopBackend[], backend: number, index: number, name: string): Promise<Member> {
  const uuid = randomUUID();
  await backends[backend]?.hold(rig.hypervisor, uuid);
  const disks = [{ sizeBytes: 512 * 2 ** 20 }];
  if (index % 2 === 0)
    return { guest: await (await rig.define({ name, uuid, disks })).boot(600_000), rig, backend, agent: null, trimMs: 0 };
  const trimMs = 8000 + ((index * 7919 + backend * 104_729) % 5) * 1000;
  const script = combine(healthyAgent(), {
    'guest-fstrim': () => (hanging.has(name) ? answer.hang() : answer.after(trimMs, { paths: [{ path: '/', trimmed: 4096, minimum: 0 }] })),
  });
  return { ...(await rig.bootScripted({ name, uuid, disks }, script)), rig, backend, trimMs };
}

export async function addMembers(rigs: readonly Rig[], backends: readonly LoopBackend[]): Promise<Member[]> {
  const members: Member[] = [];
  for (const [h, rig] of rigs.entries()) {
    for (let index = 0; index < perPlace; index += 1) {
      members.push(...(await Promise.all([0, 1].map((backend) => addMember(rig, backends, backend, index, `m${h}${backend}${index}`)))));
    }
  }
  return members;
}

/** A daemon's directories: both hypervisors in its configuration, and every guest due at once, because it was last served hours ago. */
export async function makeAllDue(
  work: Workplace,
  rigs: readonly Rig[],
  members: readonly Member[],
  extra = '',
): Promise<NodeJS.ProcessEnv> {
  const [state, config] = [work.path('fleet-state'), work.path('fleet-config')];
  for (const directory of [state, config]) {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  const hosts = rigs.map((rig) => `'${rig.uri}'`).join(', ');
  const limits = `limits: { per-hypervisor: 12, per-backend: ${perBackend}, io-pressure: 100 }`;
  const text = `hosts: [${hosts}]\ndefaults: { schedule: '0 * * * *', time-zone: UTC, window: 0 }\n${limits}\n${extra}`;
  await writeFile(path.join(config, 'config.yaml'), text);
  const served = { covered: Date.now() - 5 * 3_600_000, plan: '0 * * * *|UTC|0|', seen: Date.now(), told: ['self-trim'] };
  const domains = Object.fromEntries(members.map(({ guest }) => [guest.uuid, served]));
  await writeFile(path.join(state, 'daemon.json'), JSON.stringify({ v: 1, domains }));
  return { VIRT_TRIM_STATE_DIR: state, VIRT_TRIM_CONFIG_DIR: config, VIRT_TRIM_LOG: 'json' };
}

export interface DaemonLine {
  readonly time: number;
  readonly msg: string;
  readonly event?: string;
  readonly domain?: string;
  readonly status?: string;
  readonly code?: string | null;
  readonly seconds?: number;
}

export function parseLines(text: string): DaemonLine[] {
  return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as DaemonLine] : []));
}

/** No order of the trims can be faster: each backend works through its own, as many at a time as the limit lets in. */
export function idealMs(members: readonly Member[], durationMs: (member: Member) => number): number {
  return Math.max(
    ...[0, 1].map((backend) => {
      const durations = members.filter((member) => member.backend === backend).map(durationMs);
      return Math.max(...durations, durations.reduce((sum, ms) => sum + ms, 0) / perBackend);
    }),
  );
}

/** The most trims at once on a backend, as the guests' own agents saw them begin since a moment (`performance.now()`). */
export function overlap(members: readonly Member[], backend: number, sinceMs: number): number {
  const spans = members.flatMap(({ agent, trimMs, backend: own }) =>
    own === backend && agent !== null
      ? agent.received
          .filter(({ command, atMs }) => command === 'guest-fstrim' && atMs >= sinceMs)
          .map(({ atMs }) => ({ from: atMs, to: atMs + trimMs }))
      : [],
  );
  return Math.max(0, ...spans.map(({ from }) => spans.filter((other) => other.from <= from && from < other.to).length));
}
