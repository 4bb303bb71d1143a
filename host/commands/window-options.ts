import type { Command } from 'commander';

/** For an option that can be repeated. `<value...>` would take the domains behind it, too. */
export function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

/** Options that freeze, quiesce and `hook pre` share. */
export function addWindowOptions(command: Command): Command {
  return command
    .option('--lease <time>', 'the longest that a guest may stay frozen (default: policy, else 60s)')
    .option('--require <level>', 'refuse anything less consistent: application, filesystem or crash (default: policy, else crash)')
    .option('--wait <time>', 'how long to wait for a guest to be verified thawed before leaving it to its guard (default: 60s)')
    .option('--windows', 'freeze Windows guests too (VSS, a full backup by default)')
    .option('--peer <uri>', 'where to look for a guest that migrates while frozen; can be repeated (default: VIRT_TRIM_PEERS)', collect)
    .option('--force', 'freeze although a job is active or a manager such as oVirt does it by itself');
}
