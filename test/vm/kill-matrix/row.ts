import { setTimeout as sleep } from 'node:timers/promises';
import { startRig } from '../../rig/rig.ts';
import type { GuestPool } from './guest-pool.ts';
import { Lab, type LabOptions } from './lab.ts';

/** What a row did, for judging it. */
export interface Deed {
  readonly status: number | string;
  readonly output: string;
  /** performance.now(): the guest must be thawed 5 s after this. max(lease, first moment at which the agent could answer). */
  readonly floorMs: number;
  /** The guest could not and need not be thawed: libvirtd gone for good; destroyed. */
  readonly nobody?: boolean;
  /** Where its freeze was somebody else's: it must still be frozen. */
  readonly foreign?: boolean;
  /** Connections that may have a mark. */
  readonly uris?: readonly string[];
}

export interface Scenario {
  readonly name: string;
  readonly expect: readonly (number | string)[];
  /** What must stand in what was printed. */
  readonly says?: RegExp;
  readonly leaseSeconds?: number;
  readonly ownHypervisor?: boolean;
  /** The guest is of no use to another scenario afterwards. */
  readonly spoils?: boolean;
  /** In the part of the matrix that `npm test` runs. */
  readonly quick?: boolean;
  readonly guest?: LabOptions['guest'];
  readonly script?: LabOptions['script'];
  readonly run: (lab: Lab) => Promise<Deed>;
}

export interface Row {
  readonly name: string;
  readonly status: number | string;
  readonly thawed: string;
  /** Milliseconds after the floor; negative or null where it was thawed before. */
  readonly lateMs: number | null;
  readonly output: string;
  readonly problems: readonly string[];
}

const settleMs = 150_000;
const lateLimitMs = 5000;
const realFreezeMs = 500;

/** Plays one scenario on a guest of its own and judges it from inside the guest. */
export async function playScenario(scenario: Scenario, pool: GuestPool, mainFile: string, index: number): Promise<Row> {
  const own = scenario.ownHypervisor === true ? await startRig() : null;
  const needsOwn = own !== null || scenario.guest !== undefined || scenario.script !== undefined || scenario.spoils === true;
  const watched = needsOwn ? undefined : await pool.take();
  let healthy = false;
  try {
    await using lab = await Lab.open({
      rig: own ?? pool.rig,
      mainFile,
      name: `m${index}`,
      leaseSeconds: scenario.leaseSeconds ?? 8,
      guest: scenario.guest,
      script: scenario.script,
      watched,
    });
    const deed = await scenario.run(lab);
    const row = await judge(scenario, lab, deed);
    healthy = row.problems.length === 0;
    return row;
  } catch (error) {
    const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { name: scenario.name, status: '-', thawed: '?', lateMs: null, output: '', problems: [problem] };
  } finally {
    if (watched !== undefined) await pool.giveBack(watched, healthy);
    await own?.dispose();
  }
}

async function judge(scenario: Scenario, lab: Lab, deed: Deed): Promise<Row> {
  const problems: string[] = [];
  if (!scenario.expect.includes(deed.status)) problems.push(`exit status ${deed.status}, expected ${scenario.expect.join(' or ')}`);
  if (scenario.says !== undefined && !scenario.says.test(deed.output)) problems.push(`did not say ${String(scenario.says)}`);
  const common = { name: scenario.name, status: deed.status, output: deed.output };
  if (deed.nobody === true) return { ...common, thawed: 'cannot be', lateMs: null, problems };
  if (deed.foreign === true) {
    const sight = await lab.watch.look();
    const still = (sight?.pendingMs ?? 0) > realFreezeMs;
    if (!still) problems.push("somebody else's freeze was thawed");
    problems.push(...(await lab.leftovers()));
    return { ...common, thawed: still ? 'left alone' : 'WRONGLY', lateMs: null, problems };
  }
  const until = performance.now() + settleMs;
  let left = await lab.leftovers(deed.uris);
  while (left.length > 0 && performance.now() < until) {
    await sleep(250);
    left = await lab.leftovers(deed.uris);
  }
  problems.push(...left);
  const { thawed, lateMs } = await seenFromInside(lab, deed.floorMs, problems);
  return { ...common, thawed, lateMs, problems };
}

/** Whether the guest is thawed now, since when, and whether it can be frozen and thawed again. */
async function seenFromInside(lab: Lab, floorMs: number, problems: string[]): Promise<{ thawed: string; lateMs: number | null }> {
  const until = performance.now() + 120_000;
  let sight = await lab.watch.look(20_000);
  while ((sight === null || (sight.pendingMs ?? 0) > realFreezeMs) && performance.now() < until) {
    await sleep(250);
    sight = await lab.watch.look(20_000);
  }
  if (sight === null || (sight.pendingMs ?? 0) > realFreezeMs) {
    problems.push(sight === null ? 'the guest cannot be asked' : 'the guest is still frozen');
    return { thawed: 'NO', lateMs: null };
  }
  const last = sight.gaps.filter((gap) => gap.toMs > lab.openedMs && gap.toMs - gap.fromMs >= realFreezeMs).at(-1);
  // A freeze that lands later than the floor can be thawed from then on.
  const lateMs = last === undefined ? null : Math.round(last.toMs - Math.max(floorMs, last.fromMs));
  if (lateMs !== null && lateMs > lateLimitMs) problems.push(`thawed ${lateMs} ms after it could have been`);
  return { thawed: 'yes', lateMs };
}
