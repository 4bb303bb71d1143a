import type { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { RawWindowOptions } from '../quiesce/options.ts';
import type { Perform } from './context.ts';
import { addWindowOptions, collect } from './window-options.ts';

const help = `
COMMAND is run once, when all guests are frozen, and is not run when one cannot be. Keep it short: a storage snapshot. It is told, one
entry a line: VIRT_TRIM_DOMAINS, VIRT_TRIM_UUIDS, VIRT_TRIM_IMAGES, VIRT_TRIM_LEASES; and VIRT_TRIM_URI, VIRT_TRIM_DEADLINE.
A program given with --undo is run, told the same, where the cut turned out less consistent than required.
The exit status is COMMAND's own, unless ours is 3, 70 or 75. The report is on stderr; with --json COMMAND's output is too.

Examples:
  virt-trim quiesce db1 db2 -- zfs snapshot -r tank/vm@backup
  virt-trim quiesce --lease 20s --require filesystem web1 -- btrfs subvolume snapshot -r /vm /vm/.snap/today`;

/** commander drops the `--`; where it stood tells domains from COMMAND. */
function splitWords(words: readonly string[], raw: readonly string[]): { domains: string[]; command: string[] } {
  const at = raw.indexOf('--');
  const count = at === -1 ? 0 : raw.length - at - 1;
  const domains = words.slice(0, words.length - count);
  const command = words.slice(words.length - count);
  if (command.length === 0) throw new AppError('usage', "give the command behind '--': virt-trim quiesce DOMAIN… -- COMMAND [ARGUMENT…]");
  if (domains.length === 0) throw new AppError('usage', "name a domain in front of '--'");
  return { domains, command };
}

/** `virt-trim quiesce` */
export function registerQuiesce(program: Command, perform: Perform): void {
  addWindowOptions(
    program
      .command('quiesce')
      .summary('freeze guests, run a command, thaw them')
      .description('Freezes guests side by side under a lease, runs a command once (a storage snapshot), and thaws them, verified.')
      .usage('[options] DOMAIN... -- COMMAND [ARGUMENT...]')
      .argument('<words...>', 'domains, then -- and the command')
      .option('--mountpoint <path>', 'freeze only this filesystem; can be repeated', collect)
      .option('--undo <program>', 'run where the cut turned out less consistent than required'),
  )
    .addHelpText('after', help)
    .action((words: string[], raw: RawWindowOptions & { undo?: string }) =>
      perform(async (context) => {
        const { domains, command } = splitWords(words, (program as Command & { rawArgs: string[] }).rawArgs);
        const { readWindowOptions } = await import('../quiesce/options.ts');
        const options = readWindowOptions(raw, context.env);
        const { runQuiesce } = await import('../quiesce/run-quiesce.ts');
        return runQuiesce(context, { words: domains, command, undo: raw.undo ?? null, options });
      }),
    );
}
