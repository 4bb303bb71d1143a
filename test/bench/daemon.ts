import { startRig } from '../rig/rig.ts';
import { runCycles, type Footprint } from '../rig/cycles.ts';
import { mebibytes, type Table } from './measure.ts';

const hours = 24;
const factor = 240;

/** A day of the daemon on two real guests, pressed into six minutes: what grows. */
export async function benchDaemon(): Promise<Table> {
  await using rig = await startRig();
  await rig.bootAll([{ name: 'c1' }, { name: 'c2' }]);
  const config = "defaults: { schedule: '*/20 * * * *', window: 10m, time-zone: UTC }\nlimits: { io-pressure: 100 }\n";
  const cycles = await runCycles([rig.uri], { hours, factor, config });
  const row = (name: string, at: Footprint): string[] => [
    name,
    mebibytes(at.heapBytes),
    String(at.descriptors),
    String(at.children),
    String(at.timers),
  ];
  return {
    title: `daemon: ${hours} hours in ${((hours * 60) / factor).toFixed(0)} minutes`,
    head: ['when', 'heap', 'descriptors', 'child processes', 'timers'],
    rows: [
      row('before it was started', cycles.before),
      ...cycles.quarters.map((at, index) => row(`after ${(hours / 4) * (index + 1)} hours`, at)),
      row('after its stop', cycles.after),
    ],
    note: `Two real guests, ${cycles.trims} trims, ${cycles.minutes} minutes of its clock, each with a look at the hypervisor and a round of recover. Bar: nothing grows from the second row to the fifth, nothing is left in the last.`,
  };
}
