import { setTimeout as sleep } from 'node:timers/promises';
import { writeFile } from 'node:fs/promises';
import { identifyProcess } from '../../host/quiesce/boot-clock.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { FaultyBundle } from '../vm/kill-matrix/bundle.ts';
import { bootWatched, Lab } from '../vm/kill-matrix/lab.ts';

// npm run bench:random-kills [-- --kills 1000] [--seed 1] [--guests 12] [--minutes 60] [--markdown FILE]
// Kills a random victim at a random moment of `quiesce GUEST -- sleep 0.2`, on many guests side by side, and looks from inside each guest
// whether it was thawed in time. One guest in seven has a hypervisor of its own, whose libvirtd can be the victim too.

const argument = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(name);
  return at === -1 ? fallback : Number(process.argv[at + 1]);
};
const kills = argument('--kills', 1000);
const seed = argument('--seed', 1);
const guestCount = argument('--guests', 12);
const minutes = argument('--minutes', 60);
const leaseSeconds = 6;
const lateLimitMs = 5000;
/** A freeze that was seen, not a hiccup of a machine that emulates a dozen guests on two processors. */
const realFreezeMs = 300;
const settleMs = 180_000;

/** mulberry32: what happens in kill N depends on the seed and N alone, not on which guest is free. */
function randomOf(index: number): () => number {
  let state = (seed * 1_000_003 + index) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const victims = ['us', 'virsh', 'guard', 'both guards', 'us and guard', 'us and both guards', 'agent', 'us and agent'] as const;
type Victim = (typeof victims)[number] | 'libvirtd' | 'us and libvirtd';

interface Outcome {
  readonly victim: Victim;
  /** The lease's phase when the victim died; `none` before and after. */
  readonly phase: string;
  readonly frozen: boolean;
  readonly foreign: 'none' | 'left alone' | 'thawed';
  readonly lateMs: number | null;
  readonly leftovers: readonly string[];
}

/** Kills that say nothing of us: the rig itself failed, because the machine was overloaded. */
const unjudged: string[] = [];

function killQuietly(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function killOnce(lab: Lab, index: number, isOwn: boolean, typicalMs: number): Promise<Outcome> {
  const random = randomOf(index);
  const choices: readonly Victim[] = isOwn ? ['libvirtd', 'us and libvirtd', 'us', 'virsh'] : victims;
  const victim = choices[Math.floor(random() * choices.length)] ?? 'us';
  const afterMs = random() * typicalMs * 1.1;
  const backAfterMs = random() * 3000;
  const foreign = !isOwn && random() < 0.1;
  const beganMs = performance.now();
  if (foreign) await lab.guest.virsh('domfsfreeze', lab.guest.uuid);
  const run = lab.quiesce(['sleep', '0.2']);
  if (random() < 0.75) await untilLeased(lab, run.pid, random() * 1500);
  else await sleep(afterMs);
  const phase = ((await lab.leaseFile('phase')) ?? 'none').trim().split(' ')[0] ?? 'none';
  const deadlines = followDeadline(lab);
  let answerableMs = performance.now();
  if (victim.includes('agent') || victim.includes('libvirtd')) {
    if (victim.startsWith('us')) killQuietly(run.pid);
    answerableMs = await killServer(lab, victim, backAfterMs);
  } else {
    await killClients(lab, victim, run.pid);
  }
  const end = await run.end(200_000);
  if (end.status === 'SIGKILL' || victim.includes('guard')) answerableMs = Math.max(answerableMs, performance.now());
  await settle(lab);
  const floorMs = Math.max(await deadlines.stop(), answerableMs);
  return { victim, phase, ...(await lookInside(lab, foreign, beganMs, floorMs)), leftovers: await lab.leftovers() };
}

/** Waits for the lease, then so long: most of a run on a busy machine is Node's start, where a kill proves little. */
async function untilLeased(lab: Lab, pid: number, thenMs: number): Promise<void> {
  while (!(await lab.isLeased()) && isAlive(pid)) await sleep(20);
  await sleep(thenMs);
}

function isAlive(pid: number): boolean {
  return identifyProcess(pid) !== null;
}

/** Follows the lease's deadline: a run whose victim was not vital goes on and freezes later. */
function followDeadline(lab: Lab): { stop: () => Promise<number> } {
  let latestMs = 0;
  const end = new AbortController();
  const following = (async () => {
    while (!end.signal.aborted) {
      const centis = Number(await lab.leaseFile('deadline'));
      // 0 ends a lease early: the guard shall thaw now, and whoever wrote it waits for that.
      if (centis > 0) latestMs = Math.max(latestMs, (await lab.deadlineMs()) || 0);
      await sleep(150);
    }
  })();
  return {
    stop: async () => {
      end.abort();
      await following;
      return latestMs;
    },
  };
}

async function killClients(lab: Lab, victim: Victim, pid: number): Promise<void> {
  if (victim.startsWith('us')) killQuietly(pid);
  if (victim === 'virsh') for (const each of await lab.virshOf(pid)) killQuietly(each);
  const guards = victim.includes('guard') ? await lab.guardPids() : [];
  for (const guard of victim.includes('both') ? guards : guards.slice(0, 1)) killQuietly(guard);
}

/** @returns when it was there again. */
async function killServer(lab: Lab, victim: Victim, backAfterMs: number): Promise<number> {
  if (victim.includes('agent')) {
    await lab.guest.runChecked('/rig/agent stop', 60_000);
    await sleep(backAfterMs);
    await lab.guest.runChecked('/rig/agent start', 60_000);
    await lab.guest.waitForAgent();
  } else {
    await lab.rig.hypervisor.killDaemon();
    await sleep(backAfterMs);
    await lab.rig.hypervisor.startDaemon();
  }
  return performance.now();
}

/** Until the guards have ended the lease; where none lives, `recover` does it, as cron would. */
async function settle(lab: Lab): Promise<void> {
  const until = performance.now() + settleMs;
  let quiet = 0;
  while ((await lab.isLeased()) && performance.now() < until) {
    await sleep(500);
    quiet = (await lab.hasGuard()) ? 0 : quiet + 1;
    if (quiet > 2) await lab.start(['recover']).end(200_000);
  }
  while ((await lab.leftovers([])).length > 0 && performance.now() < until) await sleep(1000);
}

async function lookInside(
  lab: Lab,
  foreign: boolean,
  beganMs: number,
  floorMs: number,
): Promise<Pick<Outcome, 'frozen' | 'foreign' | 'lateMs'>> {
  const writes = async (timeoutMs: number): Promise<boolean> => (await lab.guest.run('echo x >/mnt/vda/kills', timeoutMs)).status === 0;
  if (foreign) {
    const still = !(await writes(1500));
    await lab.guest.virsh('domfsthaw', lab.guest.uuid);
    return { frozen: !(await writes(60_000)), foreign: still ? 'left alone' : 'thawed', lateMs: null };
  }
  const stuck = !(await writes(60_000));
  const sight = await lab.watch.look(180_000);
  if (sight === null) throw new Error('the guest gets no processor: it answers nothing at all for three minutes');
  // A write that takes a minute is a freeze only where it waits for FIFREEZE's lock.
  const frozen = stuck && (sight.pendingMs ?? 0) > 0;
  const last = (sight?.gaps ?? []).filter((gap) => gap.toMs > beganMs && gap.toMs - gap.fromMs >= realFreezeMs).at(-1);
  return { frozen, foreign: 'none', lateMs: last === undefined ? null : Math.round(last.toMs - Math.max(floorMs, last.fromMs)) };
}

async function typicalRunMs(labs: readonly Lab[]): Promise<number> {
  // As busy as it will be: all at once.
  const times = await Promise.all(
    labs.map(async (lab) => {
      const started = performance.now();
      const end = await lab.quiesce(['sleep', '0.2'], {}, ['--lease', '60s']).end();
      if (end.status !== 0) throw new Error(`a run that nobody disturbs failed: ${end.output}`);
      return performance.now() - started;
    }),
  );
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 1000;
}

await using bundle = await FaultyBundle.build();
await using shared = await startRig();
const rigs: Rig[] = [];
const labs: Lab[] = [];
try {
  const places: { rig: Rig; name: string }[] = [];
  for (let index = 0; index < guestCount; index += 1) {
    const own = index % 7 === 6;
    const rig = own ? await startRig() : shared;
    if (own) rigs.push(rig);
    places.push({ rig, name: `k${index}` });
  }
  await Promise.all(
    places.map(async ({ rig, name }) => {
      const watched = await bootWatched({ rig, name });
      labs.push(await Lab.open({ rig, mainFile: bundle.file, name, leaseSeconds, watched }));
      process.stderr.write(`${name} is up\n`);
    }),
  );
  const started = performance.now();
  const outcomes: Outcome[] = [];
  const problems: string[] = [];
  const typicalMs = await typicalRunMs(labs);
  process.stderr.write(`an undisturbed run takes ${Math.round(typicalMs)} ms with all of them at it\n`);
  let next = 0;
  await Promise.all(
    labs.map(async (lab) => {
      while (next < kills && performance.now() - started < minutes * 60_000) {
        const index = next;
        next += 1;
        const outcome = await killOnce(lab, index, lab.rig !== shared, typicalMs).catch((error: unknown) => {
          unjudged.push(`kill ${index}: ${error instanceof Error ? error.message : String(error)}`);
          process.stderr.write(`not judged: ${unjudged.at(-1) ?? ''}\n`);
        });
        if (outcome === undefined) continue;
        outcomes.push(outcome);
        const late = outcome.lateMs !== null && outcome.lateMs > lateLimitMs;
        if (outcome.frozen || outcome.foreign === 'thawed' || late || outcome.leftovers.length > 0) {
          problems.push(`kill ${index}: ${JSON.stringify(outcome)}`);
          process.stderr.write(`${problems.at(-1) ?? ''}\n`);
        }
        if (outcomes.length % 50 === 0)
          process.stderr.write(`${outcomes.length} kills, ${Math.round((performance.now() - started) / 1000)} s\n`);
      }
    }),
  );
  const text = report(outcomes, problems, (performance.now() - started) / 1000, typicalMs);
  process.stdout.write(text);
  const at = process.argv.indexOf('--markdown');
  if (at !== -1) await writeFile(process.argv[at + 1] ?? '', text);
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  for (const lab of labs) await lab[Symbol.asyncDispose]();
  for (const rig of rigs) await rig.dispose();
}

function report(outcomes: readonly Outcome[], problems: readonly string[], seconds: number, typicalMs: number): string {
  const phases = ['none', 'armed', 'freezing', 'unknown', 'frozen', 'thawed', 'refused'];
  const rows = [...new Set(outcomes.map((each) => each.victim))].toSorted().map((victim) => {
    const own = outcomes.filter((each) => each.victim === victim);
    const counts = phases.map((phase) => own.filter((each) => each.phase === phase).length);
    const worst = Math.max(...own.map((each) => each.lateMs ?? Number.NEGATIVE_INFINITY));
    return `| ${victim} | ${own.length} | ${counts.join(' | ')} | ${Number.isFinite(worst) ? (worst / 1000).toFixed(2) : '-'} |`;
  });
  const foreign = outcomes.filter((each) => each.foreign !== 'none');
  return [
    `| victim | kills | ${phases.map((phase) => (phase === 'none' ? 'no lease yet, or any more' : phase)).join(' | ')} | latest thaw, s after max(lease, answerable) |`,
    `|---|---|${phases.map(() => '---').join('|')}|---|`,
    ...rows,
    '',
    `${outcomes.length} kills (seed ${seed}, ${guestCount} guests, lease ${leaseSeconds} s, an undisturbed run took ${Math.round(typicalMs)} ms) in ${Math.round(seconds)} s.`,
    `Guests left frozen: ${outcomes.filter((each) => each.frozen).length}.`,
    `Foreign freezes: ${foreign.length}, thawed by us: ${foreign.filter((each) => each.foreign === 'thawed').length}.`,
    `Later than ${lateLimitMs / 1000} s: ${outcomes.filter((each) => (each.lateMs ?? 0) > lateLimitMs).length}.`,
    `Leases, guards or marks left: ${outcomes.filter((each) => each.leftovers.length > 0).length}.`,
    `Not judged, because the rig failed: ${unjudged.length}.`,
    ...problems,
    '',
  ].join('\n');
}
