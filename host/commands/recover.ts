import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Run it after a crash of the host, and from cron where systemd does not run the guards: it also restarts guards that have died.
On a host that guests migrate to, it thaws those that were frozen elsewhere and whose lease has run out.

Examples:
  virt-trim recover
  */5 * * * * root virt-trim -q recover`;

/** `virt-trim recover` */
export function registerRecover(program: Command, perform: Perform): void {
  program
    .command('recover')
    .summary('finish what an interrupted run left')
    .description(
      'Thaws guests whose lease has run out and whose guard has died, and removes what interrupted runs left. Nothing to do is success.',
    )
    .option('--wait <time>', 'how long to wait for a guest to be verified thawed before leaving it to its guard (default: 60s)')
    .addHelpText('after', help)
    .action((raw: { wait?: string }) =>
      perform(async (context) => {
        const { readWaitOption } = await import('../quiesce/options.ts');
        const waitMs = readWaitOption(raw.wait);
        const { runRecover } = await import('../quiesce/run-recover.ts');
        return runRecover(context, waitMs);
      }),
    );
}
