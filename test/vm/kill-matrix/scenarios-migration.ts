import { migrate, renameHost } from '../../rig/migration.ts';
import { startRig } from '../../rig/rig.ts';
import { FreezeWatch } from './freeze-watch.ts';
import type { Scenario } from './row.ts';
import { longCommand, untilFrozen } from './scenarios-us.ts';

/** The guest moves to another hypervisor while it is frozen, and we die. */
export const scenariosOfMigration: readonly Scenario[] = [
  {
    name: 'guest: migrated in the window to a peer that we were told of; we are dead',
    expect: ['SIGKILL'],
    ownHypervisor: true,
    leaseSeconds: 45,
    run: async (lab) => {
      const other = await startRig();
      lab.defer(() => other.dispose());
      await renameHost(other.hypervisor, 'virt-trim-hv2');
      const run = lab.quiesce(longCommand, {}, ['--peer', other.uri]);
      await untilFrozen(lab);
      const deadline = await lab.deadlineMs();
      run.kill('SIGKILL');
      lab.watch = FreezeWatch.attach(await migrate(lab.guest, other.hypervisor));
      return { ...(await run.end()), floorMs: Math.max(deadline, performance.now()), uris: [other.uri] };
    },
  },
  {
    name: 'guest: migrated in the window to a host that we were not told of; `recover` there',
    expect: [0],
    ownHypervisor: true,
    // Long enough to have moved before it runs out.
    leaseSeconds: 120,
    run: async (lab) => {
      const other = await startRig();
      lab.defer(() => other.dispose());
      await renameHost(other.hypervisor, 'virt-trim-hv2');
      const run = lab.quiesce(longCommand);
      await untilFrozen(lab);
      const deadline = await lab.deadlineMs();
      run.kill('SIGKILL');
      await run.end();
      lab.watch = FreezeWatch.attach(await migrate(lab.guest, other.hypervisor));
      // What other hosts and users see has half a minute more, for windows that several guests share.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, deadline - performance.now()) + 31_000));
      const floorMs = performance.now();
      const elsewhere = { VIRT_TRIM_STATE_DIR: `${lab.stateDirectory}/destination` };
      return { ...(await lab.start(['recover'], elsewhere, other.uri).end()), floorMs, uris: [other.uri] };
    },
  },
];
