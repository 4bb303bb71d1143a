import type { Command } from 'commander';

/** Options that freeze, quiesce and `hook pre` share. */
export function addWindowOptions(command: Command): Command {
  return command
    .option('--lease <time>', 'the longest that a guest may stay frozen (default: policy, else 60s)')
    .option('--require <level>', 'refuse anything less consistent: application, filesystem or crash (default: policy, else crash)')
    .option('--wait <time>', 'how long to wait for a guest to be verified thawed before leaving it to its guard (default: 60s)')
    .option('--windows', 'freeze Windows guests too (VSS, a full backup by default)')
    .option('--peer <uri...>', 'where to look for a guest that migrates while frozen (default: VIRT_TRIM_PEERS)')
    .option('--force', 'freeze although a job is active or a manager such as oVirt does it by itself');
}
