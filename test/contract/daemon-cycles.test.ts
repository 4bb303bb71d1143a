import { expect, it } from 'vitest';
import { runCycles } from '../rig/cycles.ts';

const mebibyte = 1024 ** 2;
/** Both looks fall into the middle of work: calls in flight have timers and pipes. A leak would show once for each of some ninety cycles. */
const inFlight = 8;

it('hours of looking, recovering and trimming, pressed into seconds, leave nothing behind', async () => {
  // libvirt's test driver has no guest that could trim: each attempt ends with its reason. test/bench does it with real ones, for 24 hours.
  const config = "defaults: { schedule: '* * * * *', window: 0, time-zone: UTC }\nlimits: { io-pressure: 100 }\n";
  const cycles = await runCycles(['test:///default'], { hours: 2, factor: 480, config });
  expect(cycles.trims).toBeGreaterThan(10);
  const [first, , , last] = cycles.quarters;
  if (first === undefined || last === undefined) throw new Error('four looks');
  expect(last.heapBytes - first.heapBytes).toBeLessThan(4 * mebibyte);
  expect(last.descriptors).toBeLessThanOrEqual(first.descriptors + inFlight);
  expect(last.timers).toBeLessThanOrEqual(first.timers + inFlight);
  expect(cycles.after.children).toBe(cycles.before.children);
  expect(cycles.after.timers).toBeLessThanOrEqual(cycles.before.timers); // the test runner has timers of its own, now and then
  expect(cycles.after.descriptors).toBeLessThanOrEqual(cycles.before.descriptors);
}, 60_000);
