import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Examples:
  virt-trim lease renew db1
  virt-trim lease renew --lease 2m db1 db2`;

/** `virt-trim lease renew` */
export function registerLease(program: Command, perform: Perform): void {
  program
    .command('lease')
    .summary('renew the lease of frozen guests')
    .description('Works with the leases that "freeze" and "hook pre" made; "list" shows them.')
    .command('renew')
    .description('Keeps guests frozen for another lease, counted from now. A lease that has run out cannot be renewed (3).')
    .argument('<domain...>', 'name, UUID or id')
    .option('--lease <time>', 'another length than at first')
    .addHelpText('after', help)
    .action((words: string[], raw: { lease?: string }) =>
      perform(async (context) => {
        const { readLeaseOption } = await import('../quiesce/options.ts');
        const seconds = raw.lease === undefined ? null : readLeaseOption(raw.lease);
        const { runRenew } = await import('../quiesce/run-renew.ts');
        return runRenew(context, words, seconds);
      }),
    );
}
