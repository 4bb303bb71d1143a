import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Serves every domain at the times of its policy (schedule, window, time-zone, maintenance, trim; 'virt-trim schedule' shows them), within
the configuration's limits, and does what 'virt-trim recover' does every minute. Give -c several times, or list 'hosts:' in the
configuration, to serve several hypervisors.
SIGHUP reads the configuration again. SIGTERM begins nothing more, and waits for what is running.
Runs in the foreground; under systemd it is a Type=notify service (docs/daemon.md has the units).

Examples:
  virt-trim daemon
  virt-trim -c qemu+ssh://hv1/system -c qemu+ssh://hv2/system daemon
  virt-trim daemon --once          # what is due now, then end: for cron or a systemd timer`;

/** `virt-trim daemon` */
export function registerDaemon(program: Command, perform: Perform): void {
  program
    .command('daemon')
    .summary('trim on schedule, within limits')
    .description('Trims every domain at its times, spread over a window and never too many at once on one hypervisor or storage backend.')
    .option('--once', 'do what is due now or was missed, and end')
    .option('--stop-timeout <time>', 'how long running trims may go on after SIGTERM (default: 60s)')
    .addHelpText('after', help)
    .action((raw: { once?: boolean; stopTimeout?: string }) =>
      perform(async (context) => {
        const { readDaemonOptions } = await import('../daemon/options.ts');
        const options = readDaemonOptions(raw);
        const { runDaemon } = await import('../daemon/run.ts');
        return runDaemon(context, options);
      }),
    );
}
