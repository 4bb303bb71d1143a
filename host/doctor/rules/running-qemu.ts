import type { DiskRule } from '../facts.ts';

/** libvirt's live XML is what libvirt believes; QEMU's own command line is what it was told. They differ only where somebody went past libvirt. */
export const runningQemu: DiskRule = {
  id: 'running-qemu',
  layer: 'driver',
  judge: ({ disk, domainFacts }) => {
    const { running } = domainFacts;
    if (running === null || disk.alias === null || !running.discard.has(disk.alias)) return null;
    const observed = running.discard.get(disk.alias) ?? null;
    const evidence = `QEMU (pid ${running.pid}) runs ${observed === null ? 'without discard=' : `with discard=${observed}`} for ${disk.target}`;
    const passes = observed === 'unmap' || observed === 'on';
    if (passes === (disk.discard === 'unmap')) return { verdict: 'ok', evidence, message: 'the running QEMU agrees with the XML' };
    return {
      verdict: passes ? 'warning' : 'blocks',
      evidence,
      message: `the live XML says discard='${disk.discard ?? 'not set'}', and the running QEMU does otherwise: a cold restart makes them agree`,
    };
  },
};
