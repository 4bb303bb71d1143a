import type { Command } from 'commander';
import type { RawWindowOptions } from '../quiesce/options.ts';
import type { Perform } from './context.ts';
import { addWindowOptions, collect } from './window-options.ts';

const help = `
The guests stay frozen when this command ends. A guard, another process that was proven to reach the guest before the freeze,
thaws them when the lease runs out, whatever has become of virt-trim or libvirtd by then. All guests are frozen, or none.

Examples:
  virt-trim freeze --lease 30s db1 && lvcreate -s -n snap vg/db1; virt-trim thaw db1
  virt-trim freeze --require filesystem --mountpoint /srv web1`;

/** `virt-trim freeze` */
export function registerFreeze(program: Command, perform: Perform): void {
  addWindowOptions(
    program
      .command('freeze')
      .summary('freeze guests under a lease')
      .description('Freezes the filesystems of guests under a lease: they are thawed by "thaw", or by a guard when the lease runs out.')
      .argument('<domain...>', 'name, UUID or id')
      .option('--mountpoint <path>', 'freeze only this filesystem; can be repeated', collect),
  )
    .addHelpText('after', help)
    .action((words: string[], raw: RawWindowOptions) =>
      perform(async (context) => {
        const { readWindowOptions } = await import('../quiesce/options.ts');
        const options = readWindowOptions(raw, context.env);
        const { runFreeze } = await import('../quiesce/run-freeze.ts');
        return runFreeze(context, { command: 'freeze', words, options, caller: 'freeze' });
      }),
    );
}
