/**
 * For tests only: ends this process with SIGKILL at a named step, so that what is left behind can be looked at. VIRT_TRIM_FAULT names the
 * step; with `stop:` in front it is SIGSTOP, and the test does what it wants in between. The bundle is built with `--define:VIRT_TRIM_NO_FAULTS=true`, which leaves nothing of it: it exists in the sources alone.
 */
export const faultPoints = [
  'before-lease',
  'after-lease',
  'after-guard',
  'after-metadata',
  'after-watchdog',
  'after-phase-freezing',
  'after-freeze-sent',
  'after-freeze-answered',
  'after-phase-frozen',
  'before-thaw',
  'after-thaw-sent',
  'after-thaw-answered',
  'after-thaw-verified',
  'after-phase-thawed',
  'after-guard-stopped',
  'after-metadata-removed',
  'after-lease-removed',
] as const;
export type FaultPoint = (typeof faultPoints)[number];

declare const VIRT_TRIM_NO_FAULTS: boolean | undefined;

export function faultPoint(point: FaultPoint): void {
  if (typeof VIRT_TRIM_NO_FAULTS === 'undefined' || !VIRT_TRIM_NO_FAULTS) {
    const fault = process.env['VIRT_TRIM_FAULT'];
    if (fault === point) process.kill(process.pid, 'SIGKILL');
    if (fault === `stop:${point}`) process.kill(process.pid, 'SIGSTOP');
  }
}
