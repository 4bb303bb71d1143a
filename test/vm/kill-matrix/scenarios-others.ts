import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import type { Guest } from '../../../host/demo/guest.ts';
import { combine, healthyAgent } from '../../rig/agent-scripts.ts';
import { answer, type AgentScript } from '../../rig/scripted-agent.ts';
import { FreezeWatch } from './freeze-watch.ts';
import type { Lab } from './lab.ts';
import type { Scenario } from './row.ts';
import { hookGuest, longCommand, untilFrozen } from './scenarios-us.ts';

/** A scripted agent that really freezes the guest's disk, so that it can be seen from inside. */
export function freezingAgent(guest: () => Guest, more: AgentScript = {}, thawFailures = 0): AgentScript {
  const healthy = healthyAgent();
  let failuresLeft = thawFailures;
  return combine(
    healthy,
    {
      'guest-fsfreeze-freeze': async (args) => {
        await guest().runChecked('fsfreeze --freeze /mnt/vda');
        return healthy['guest-fsfreeze-freeze']?.(args);
      },
      'guest-fsfreeze-thaw': async (args) => {
        failuresLeft -= 1;
        if (failuresLeft >= 0) return answer.error('failed to thaw /mnt/vda: Input/output error');
        await guest().run('fsfreeze --unfreeze /mnt/vda');
        return healthy['guest-fsfreeze-thaw']?.(args);
      },
    },
    more,
  );
}

/** SIGSTOP and SIGCONT of the agent in the guest: it hangs, its port stays open. */
const stopAgent = (lab: Lab) => lab.guest.runChecked('kill -STOP $(cat /run/agent.pid)');
const continueAgent = (lab: Lab) => lab.guest.runChecked('kill -CONT $(cat /run/agent.pid)');

function daemonDies(name: string, backAfterMs: number, quick: boolean): Scenario {
  return {
    name,
    // Back within our patience: verified. Else 70, and the guard has thawed it since.
    expect: backAfterMs < 30_000 ? [0] : [70, 0],
    ownHypervisor: true,
    quick,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      const deadline = await lab.deadlineMs();
      await lab.rig.hypervisor.killDaemon();
      await sleep(backAfterMs);
      await lab.rig.hypervisor.startDaemon();
      return { floorMs: Math.max(deadline, performance.now()), ...(await run.end()) };
    },
  };
}

const daemons: Scenario[] = [
  daemonDies('libvirtd: SIGKILL, back after 3 s', 3000, true),
  daemonDies('libvirtd: SIGKILL, back after 60 s', 60_000, false),
  {
    name: 'libvirtd: SIGSTOP for 12 s, then SIGCONT',
    expect: [0],
    ownHypervisor: true,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      await lab.rig.hypervisor.pauseDaemon();
      await sleep(12_000);
      await lab.rig.hypervisor.resumeDaemon();
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'libvirtd: SIGKILL, gone for good',
    expect: [70],
    says: /may still be frozen.*virsh -c '[^']+' qemu-agent-command [0-9a-f-]{36} '\{"execute":"guest-fsfreeze-thaw"\}'/s,
    ownHypervisor: true,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1'], {}, ['--wait', '8s']);
      await untilFrozen(lab);
      await lab.rig.hypervisor.killDaemon();
      const end = await run.end();
      // Only so that the rig can remove the guest.
      lab.defer(() => lab.rig.hypervisor.startDaemon());
      return { ...end, floorMs: 0, nobody: true };
    },
  },
];

const agents: Scenario[] = [
  {
    name: 'qemu-ga: SIGKILL in the window, restarted after 2 s',
    expect: [0],
    quick: true,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      await lab.guest.runChecked('/rig/agent stop');
      await sleep(2000);
      await lab.guest.runChecked('/rig/agent start');
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'qemu-ga: SIGKILL in the window and us too, restarted after the lease',
    expect: ['SIGKILL'],
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      await lab.guest.runChecked('/rig/agent stop');
      run.kill('SIGKILL');
      await sleep(8000);
      await lab.guest.runChecked('/rig/agent start');
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'freeze: freezes, then never answers; the agent wakes up after 15 s',
    expect: [1],
    guest: {},
    script: (guest) => freezingAgent(guest, { 'guest-fsfreeze-freeze': hangingFreeze(guest, 15_000) }),
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      const end = await run.end();
      return { ...end, floorMs: wokeMs.get(lab.guest.name) ?? 0 };
    },
  },
  {
    name: 'freeze: never answers, for 90 s',
    expect: [70],
    says: /may still be frozen/,
    script: (guest) => freezingAgent(guest, { 'guest-fsfreeze-freeze': hangingFreeze(guest, 90_000) }),
    run: async (lab) => {
      const run = lab.quiesce(longCommand, {}, ['--wait', '20s']);
      const end = await run.end();
      while (!wokeMs.has(lab.guest.name)) await sleep(200);
      return { ...end, floorMs: wokeMs.get(lab.guest.name) ?? 0 };
    },
  },
  {
    name: 'freeze: a guest hook delays the answer past the lease',
    expect: [1],
    guest: hookGuest('[ "$1" != freeze ] || sleep 11'),
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await lab.until('phase', /^freezing/);
      const floorMs = performance.now() + 11_000;
      return { ...(await run.end()), floorMs };
    },
  },
  {
    name: 'freeze: a guest hook delays the answer past the lease, and we are killed',
    expect: ['SIGKILL'],
    guest: hookGuest('[ "$1" != freeze ] || sleep 11'),
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await lab.until('phase', /^freezing/);
      const floorMs = performance.now() + 11_000;
      await sleep(300);
      run.kill('SIGKILL');
      return { ...(await run.end()), floorMs };
    },
  },
  {
    name: 'freeze: a guest hook hangs until it is killed after 20 s',
    expect: [1],
    guest: hookGuest('[ "$1" != freeze ] || { echo $$ >/run/hook.pid; exec sleep 1000; }'),
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await lab.until('phase', /^freezing/);
      await sleep(20_000);
      await lab.guest.runChecked('kill -KILL $(cat /run/hook.pid)');
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'freeze: queued behind a hung call whose client was killed; runs 12 s later',
    expect: [1],
    quick: true,
    run: async (lab) => {
      const run = lab.quiesce(longCommand, { VIRT_TRIM_FAULT: 'stop:after-phase-freezing' });
      await lab.until('phase', /^freezing/);
      await hangAgentWithDeadClient(lab);
      run.kill('SIGCONT');
      await sleep(12_000);
      await continueAgent(lab);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'freeze: queued behind a hung call, and we are killed too; runs 12 s later',
    expect: ['SIGKILL'],
    run: async (lab) => {
      const run = lab.quiesce(longCommand, { VIRT_TRIM_FAULT: 'stop:after-phase-freezing' });
      await lab.until('phase', /^freezing/);
      await hangAgentWithDeadClient(lab);
      run.kill('SIGCONT');
      await sleep(500);
      run.kill('SIGKILL');
      await sleep(11_500);
      await continueAgent(lab);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'thaw: fails twice',
    expect: [0],
    leaseSeconds: 30,
    script: (guest) => freezingAgent(guest, {}, 2),
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      return { floorMs: performance.now() + 1000, ...(await run.end()) };
    },
  },
];

/** performance.now() at which a hanging agent went on, by the guest's name. */
const wokeMs = new Map<string, number>();

function hangingFreeze(guest: () => Guest, ms: number): AgentScript[string] {
  return async () => {
    await guest().runChecked('fsfreeze --freeze /mnt/vda');
    // Nothing else is answered meanwhile: commands are taken one after the other.
    await sleep(ms);
    wokeMs.set(guest().name, performance.now());
    return answer.drop();
  };
}

/** A call hangs in the agent, and the virsh that made it is dead: the agent's lock stays taken. */
async function hangAgentWithDeadClient(lab: Lab): Promise<void> {
  await stopAgent(lab);
  const call = execa('virsh', ['-c', lab.rig.uri, 'qemu-agent-command', lab.guest.uuid, '{"execute":"guest-ping"}', '--block'], {
    reject: false,
  });
  await sleep(500);
  call.kill('SIGKILL');
  await call;
}

const guests: Scenario[] = [
  {
    name: 'guest: paused in the window, resumed 8 s later',
    expect: [0],
    quick: true,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      await lab.guest.virsh('suspend', lab.guest.uuid);
      await sleep(8000);
      await lab.guest.virsh('resume', lab.guest.uuid);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'guest: saved in the window and restored 8 s later; we are dead',
    spoils: true,
    expect: ['SIGKILL'],
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      run.kill('SIGKILL');
      const file = lab.rig.hypervisor.path('images', `${lab.guest.name}.save`);
      await lab.guest.virsh('save', lab.guest.uuid, file);
      await sleep(8000);
      await lab.guest.virsh('restore', file);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'guest: reset in the window',
    spoils: true,
    // 70 where it takes longer than a minute to boot again.
    expect: [0, 70],
    says: /crash/,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '8'], {}, ['--lease', '30s']);
      await untilFrozen(lab);
      await lab.guest.virsh('reset', lab.guest.uuid);
      const end = await run.end();
      await lab.guest.waitForBoot(240_000);
      await FreezeWatch.start(lab.guest);
      return { ...end, floorMs: performance.now() };
    },
  },
  {
    name: 'guest: destroyed in the window',
    spoils: true,
    expect: [0],
    says: /crash/,
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '1']);
      await untilFrozen(lab);
      await lab.guest.destroy();
      const end = await run.end();
      const left = await lab.leftovers();
      return { ...end, output: `${end.output}\n${left.join('\n')}`, floorMs: 0, nobody: true };
    },
  },
];

const directories: Scenario[] = [
  {
    name: 'state directory: full',
    expect: [1],
    says: /cannot be written/,
    quick: true,
    run: async (lab) => {
      await mountState(lab, 'size=64k');
      await execa('dd', ['if=/dev/zero', `of=${lab.stateDirectory}/filler`, 'bs=1k', 'count=100'], { reject: false });
      const run = lab.quiesce(['true']);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'state directory: read-only',
    expect: [1],
    says: /cannot be written|read-only/i,
    run: async (lab) => {
      await mountState(lab, 'size=64k');
      await execa('mount', ['-o', 'remount,ro', lab.stateDirectory]);
      const run = lab.quiesce(['true']);
      return { floorMs: performance.now(), ...(await run.end()) };
    },
  },
  {
    name: 'state directory: full from the freeze on, and we are killed',
    expect: ['SIGKILL'],
    run: async (lab) => {
      await mountState(lab, 'size=256k');
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      const floorMs = await lab.deadlineMs();
      await execa('dd', ['if=/dev/zero', `of=${lab.stateDirectory}/filler`, 'bs=1k', 'count=500'], { reject: false });
      run.kill('SIGKILL');
      return { ...(await run.end()), floorMs };
    },
  },
];

async function mountState(lab: Lab, options: string): Promise<void> {
  await execa('mount', ['-t', 'tmpfs', '-o', `mode=700,${options}`, 'tmpfs', lab.stateDirectory]);
  lab.defer(() => execa('umount', ['--lazy', lab.stateDirectory]));
}

const others: Scenario[] = [
  {
    name: 'two of us on one guest: the second gets 75',
    expect: [75],
    says: /is held by lease/,
    quick: true,
    run: async (lab) => {
      const first = lab.quiesce(['sleep', '3'], {}, ['--lease', '20s']);
      await untilFrozen(lab);
      const second = await lab.quiesce(['true']).end();
      const end = await first.end();
      return { ...second, output: `${second.output}\n${end.status}`, floorMs: performance.now() };
    },
  },
  {
    name: "somebody else's freeze before ours",
    expect: [3],
    says: /frozen already/,
    quick: true,
    run: async (lab) => {
      await lab.guest.virsh('domfsfreeze', lab.guest.uuid);
      const end = await lab.quiesce(['true']).end();
      await sleep(3000);
      lab.defer(() => lab.guest.virsh('domfsthaw', lab.guest.uuid));
      return { ...end, floorMs: 0, foreign: true };
    },
  },
  {
    name: "somebody else's freeze between our lease and our freeze, and we are killed",
    expect: ['SIGKILL'],
    run: async (lab) => {
      const run = lab.quiesce(['true'], { VIRT_TRIM_FAULT: 'after-guard' });
      const end = await run.end();
      await lab.guest.virsh('domfsfreeze', lab.guest.uuid);
      await sleep((lab.leaseSeconds + 4) * 1000);
      lab.defer(() => lab.guest.virsh('domfsthaw', lab.guest.uuid));
      return { ...end, floorMs: 0, foreign: true };
    },
  },
  {
    name: "somebody else's freeze of the next run of the guest, our lease left over; `recover`",
    expect: [0],
    spoils: true,
    run: async (lab) => {
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      run.kill('SIGKILL');
      for (const pid of await lab.guardPids()) process.kill(pid, 'SIGKILL');
      await run.end();
      await lab.guest.destroy();
      await lab.guest.boot(240_000);
      await FreezeWatch.start(lab.guest);
      await lab.guest.virsh('domfsfreeze', lab.guest.uuid);
      const end = await lab.start(['recover']).end();
      await sleep(3000);
      lab.defer(() => lab.guest.virsh('domfsthaw', lab.guest.uuid));
      return { ...end, floorMs: 0, foreign: true };
    },
  },
  {
    name: "somebody else's freeze while ours holds",
    expect: [0],
    run: async (lab) => {
      const run = lab.quiesce(['sleep', '2'], {}, ['--lease', '20s']);
      await untilFrozen(lab);
      const other = await lab.guest.connection.runAll([['domfsfreeze', lab.guest.uuid]]);
      if (other[0]?.ok === true) throw new Error("the guest took somebody else's freeze as well");
      return { ...(await run.end()), floorMs: performance.now() };
    },
  },
  {
    name: 'the clock is set back an hour in the window, and we are killed',
    expect: ['SIGKILL'],
    run: async (lab) => {
      const clock = `${lab.stateDirectory}.clock`;
      await execa('sh', ['-c', `echo +0 > ${clock}`]);
      lab.defer(() => execa('rm', ['-f', clock]));
      const library = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
      await readFile(library);
      const run = lab.quiesce(longCommand, {
        LD_PRELOAD: library,
        FAKETIME_TIMESTAMP_FILE: clock,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      });
      await untilFrozen(lab);
      const floorMs = await lab.deadlineMs();
      await execa('sh', ['-c', `echo -3600 > ${clock}`]);
      run.kill('SIGKILL');
      return { ...(await run.end()), floorMs };
    },
  },
];

export const scenariosOfOthers: readonly Scenario[] = [...daemons, ...agents, ...guests, ...directories, ...others];
