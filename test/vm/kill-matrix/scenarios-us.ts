import { faultPoints } from '../../../host/quiesce/fault.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { execa } from 'execa';
import { ownAgentProgram } from '../../rig/default-agent.ts';
import type { Lab } from './lab.ts';
import type { Deed, Scenario } from './row.ts';

/** `sleep 60` inside the window: the lease runs out first. */
export const longCommand = ['sleep', '60'];

/** Waits until the guest is frozen by our run. */
export async function untilFrozen(lab: Lab): Promise<void> {
  await lab.until('phase', /^frozen/);
}

const quickPoints = new Set(['after-lease', 'after-phase-freezing', 'after-freeze-answered', 'after-thaw-sent', 'after-guard-stopped']);

const unguarded = new Set(['after-lease', 'after-guard-stopped', 'after-metadata-removed']);

/** SIGKILL of ourselves at each step from the lease to its removal. */
const ourDeaths: Scenario[] = faultPoints.map((point) => ({
  name: `we: SIGKILL ${point}`,
  expect: ['SIGKILL'],
  quick: quickPoints.has(point),
  run: async (lab): Promise<Deed> => {
    const run = lab.quiesce(['true'], { VIRT_TRIM_FAULT: point });
    const end = await run.end();
    // Where no lease is left, nothing may be frozen.
    const deadline = (await lab.leaseFile('deadline')) === null ? performance.now() : await lab.deadlineMs();
    if (!unguarded.has(point)) return { ...end, floorMs: deadline };
    // Nothing is frozen at these steps, and no guard runs: the record stays until the next verb that changes something, or cron.
    const recovered = await lab.start(['recover']).end();
    return { ...end, output: recovered.output, floorMs: performance.now() };
  },
}));

function bySignal(signal: NodeJS.Signals, name: string, expect: number): Scenario {
  return {
    name,
    expect: [expect],
    quick: signal === 'SIGINT',
    leaseSeconds: 20,
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      await sleep(700);
      run.kill(signal);
      const killedMs = performance.now();
      return { ...(await run.end()), floorMs: killedMs };
    },
  };
}

const signals: Scenario[] = [
  bySignal('SIGINT', 'we: Ctrl-C (SIGINT)', 130),
  bySignal('SIGHUP', 'we: terminal hang-up (SIGHUP)', 130),
  bySignal('SIGTERM', 'we: SIGTERM', 143),
  {
    name: 'we: the reader of our output goes away',
    expect: [0],
    run: async (lab) => {
      const args = ['quiesce', '--lease', '20s', lab.guest.uuid, '--', 'sleep', '1'];
      const shell = 'node "$@" 2>&1 | true; exit "${PIPESTATUS[0]}"';
      const result = await execa('bash', ['-c', shell, 'bash', lab.mainFile, '-c', lab.rig.uri, ...args], {
        reject: false,
        env: { VIRT_TRIM_STATE_DIR: lab.stateDirectory },
      });
      return { status: result.exitCode ?? '?', output: '', floorMs: performance.now() };
    },
  },
  {
    name: 'we: SIGSTOP past the lease just before the freeze is sent, then SIGCONT',
    expect: [1],
    leaseSeconds: 6,
    run: async (lab) => {
      const run = lab.quiesce(['true'], { VIRT_TRIM_FAULT: 'stop:after-phase-freezing' });
      await lab.until('phase', /^freezing/);
      const deadline = await lab.deadlineMs();
      await sleep(8000);
      run.kill('SIGCONT');
      const end = await run.end();
      return { ...end, floorMs: Math.max(deadline, performance.now()) };
    },
  },
  {
    name: 'we: the command outlives the lease',
    expect: [0],
    says: /crash.*lease ran out/,
    leaseSeconds: 6,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '9']);
      await untilFrozen(lab);
      const floorMs = await lab.deadlineMs();
      return { ...(await run.end()), floorMs };
    },
  },
];

const virsh: Scenario[] = [
  {
    name: 'virsh: SIGKILL in the freeze',
    expect: [1],
    quick: true,
    guest: hookGuest('[ "$1" != freeze ] || sleep 1'),
    leaseSeconds: 12,
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await lab.until('phase', /^freezing/);
      await sleep(400);
      const floorMs = performance.now();
      for (const pid of await lab.virshOf(run.pid)) process.kill(pid, 'SIGKILL');
      // The hook still runs: the agent can answer when it is done.
      return { ...(await run.end()), floorMs: floorMs + 1000 };
    },
  },
  {
    name: 'virsh: SIGKILL in the thaw',
    expect: [0],
    says: /crash|filesystem/,
    guest: hookGuest('[ "$1" != thaw ] || sleep 1'),
    leaseSeconds: 10,
    run: async (lab) => {
      const run = lab.quiesce(['touch', path.join(lab.stateDirectory, 'done')]);
      await untilFrozen(lab);
      await sleep(600);
      const floorMs = performance.now();
      for (const pid of await lab.virshOf(run.pid)) process.kill(pid, 'SIGKILL');
      return { ...(await run.end()), floorMs: floorMs + 1000 };
    },
  },
];

/** qemu-ga with a freeze hook, as in Debian's /etc/qemu/fsfreeze-hook. */
export function hookGuest(line: string): Scenario['guest'] {
  return {
    agent: { kind: 'qemu-ga', arguments: ['-F/rig/hook'] },
    files: { '/rig/hook': `#!/bin/sh\n${line}\n` },
    steps: ['chmod +x /rig/hook'],
  };
}

const guards: Scenario[] = [
  {
    name: 'guard: SIGKILL of the first, then of us',
    expect: ['SIGKILL'],
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      const floorMs = await lab.deadlineMs();
      process.kill((await lab.guardPids())[0] ?? 0, 'SIGKILL');
      run.kill('SIGKILL');
      return { ...(await run.end()), floorMs };
    },
  },
  {
    name: 'guard: SIGKILL of the second, then of the first, then of us',
    expect: ['SIGKILL'],
    leaseSeconds: 8,
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      const floorMs = await lab.deadlineMs();
      const [first = 0, second = 0] = await lab.guardPids();
      process.kill(second, 'SIGKILL');
      await sleep(3000);
      process.kill(first, 'SIGKILL');
      run.kill('SIGKILL');
      return { ...(await run.end()), floorMs };
    },
  },
  {
    name: 'guard: SIGKILL of both, we live',
    expect: [0],
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      for (const pid of await lab.guardPids()) process.kill(pid, 'SIGKILL');
      const end = await run.end();
      return { ...end, floorMs: performance.now() };
    },
  },
  {
    name: 'guard: SIGKILL of both and of us; then `recover`, as from cron',
    expect: [0],
    quick: true,
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      const deadline = await lab.deadlineMs();
      for (const pid of await lab.guardPids()) process.kill(pid, 'SIGKILL');
      run.kill('SIGKILL');
      await run.end();
      await sleep(Math.max(0, deadline - performance.now()) + 1000);
      const floorMs = performance.now();
      return { ...(await lab.start(['recover']).end()), floorMs };
    },
  },
];

/** virt-trim's own guest agent thaws by itself: its watchdog is set to the lease. */
const ownAgent: Scenario = {
  name: 'our own agent in the guest: SIGKILL of both guards and of us, and nobody ever recovers',
  expect: ['SIGKILL'],
  guest: { agent: { kind: 'virt-trim', program: ownAgentProgram } },
  run: async (lab) => {
    const run = lab.quiesce(longCommand);
    await untilFrozen(lab);
    const floorMs = await lab.deadlineMs();
    for (const pid of await lab.guardPids()) process.kill(pid, 'SIGKILL');
    run.kill('SIGKILL');
    const end = await run.end();
    await sleep(Math.max(0, floorMs - performance.now()) + 8000);
    // Thawed by now, or judged late: recover only removes the record.
    const recovered = await lab.start(['recover']).end();
    return { status: end.status, output: recovered.output, floorMs };
  },
};

export const scenariosOfUs: readonly Scenario[] = [...ourDeaths, ...signals, ...virsh, ...guards, ownAgent];
