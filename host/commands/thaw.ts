import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
A guest that somebody else froze (virsh, another tool, another user's lease) is not thawed without --force.
Thawed is said only when the guest's agent has said so, and no freeze of ours can still be on its way.

Examples:
  virt-trim thaw db1
  virt-trim thaw --all --leased`;

interface RawThawOptions {
  readonly all?: boolean;
  readonly leased?: boolean;
  readonly force?: boolean;
  readonly wait?: string;
}

/** `virt-trim thaw` */
export function registerThaw(program: Command, perform: Perform): void {
  program
    .command('thaw')
    .summary('thaw guests, and verify it')
    .description('Thaws guests that "freeze" or an interrupted run left frozen, verifies it, and ends their leases.')
    .argument('[domain...]', 'name, UUID or id')
    .option('--all', 'every domain; those that are off or have no agent are passed over')
    .option('--leased', 'only guests that a lease of ours holds')
    .option('--force', 'thaw what somebody else froze, too')
    .option('--wait <time>', 'how long to wait for a guest to be verified thawed before leaving it to its guard (default: 60s)')
    .addHelpText('after', help)
    .action((words: string[], raw: RawThawOptions) =>
      perform(async (context) => {
        const { readWaitOption } = await import('../quiesce/options.ts');
        const waitMs = readWaitOption(raw.wait);
        const { runThaw } = await import('../quiesce/run-thaw.ts');
        return runThaw(context, {
          command: 'thaw',
          words,
          all: raw.all === true,
          leased: raw.leased === true,
          force: raw.force === true,
          waitMs,
          caller: '',
          mustBeLeased: false,
          require: 'crash',
        });
      }),
    );
}
