import type { DomainRule } from '../facts.ts';

export const machineObserved: DomainRule = {
  id: 'machine-observed',
  layer: 'bus',
  judge: ({ domain, running, host }) => {
    if (running === null || running.machine === null) return null;
    const evidence = `QEMU (pid ${running.pid}) runs the machine type ${running.machine}`;
    if (running.replaced) {
      return {
        verdict: 'unknown',
        evidence: `${evidence}, and ${running.executable ?? 'its binary'} was replaced since it started`,
        message: `the QEMU that runs is older than the one installed (${host.qemu === null ? 'unknown' : `${host.qemu.major}.${host.qemu.minor}`}): what it can do is seen after a cold restart`,
      };
    }
    if (running.machine === domain.machine) return null;
    return { verdict: 'warning', evidence, message: `the live XML says ${domain.machine ?? 'nothing'}` };
  },
};
