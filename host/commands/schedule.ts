import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
The times come from the policy chain ('virt-trim policy show', 'virt-trim config show'): schedule, time-zone, window, maintenance, trim.
A domain's place in the window follows from its UUID alone, so that it keeps its minute. Where a daemon runs, what it is doing is shown.

Examples:
  virt-trim schedule
  virt-trim schedule --next 10 web1
  virt-trim -c qemu+ssh://hv1/system -c qemu+ssh://hv2/system schedule 'tag:prod'`;

/** `virt-trim schedule` */
export function registerSchedule(program: Command, perform: Perform): void {
  program
    .command('schedule')
    .summary('show when each domain is trimmed, and why then')
    .description('Shows the next times of each domain and what they follow from. Changes nothing.')
    .argument('[selector...]', 'names, UUIDs, globs, tag:WORD, !EXCLUDE (default: all domains)')
    .option('--next <count>', 'how many runs of each (default: 1)')
    .addHelpText('after', help)
    .action((words: string[], raw: { next?: string }) =>
      perform(async (context) => {
        const { readScheduleOptions } = await import('../schedule/options.ts');
        const options = readScheduleOptions(words, raw);
        const { runSchedule } = await import('../schedule/run.ts');
        return runSchedule(context, options);
      }),
    );
}
