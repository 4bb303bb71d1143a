import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Reclaimable is what a trim could give back at best: the allocation that no filesystem of the guest uses.
It needs the guest's answer, so it is shown with --probe only. '-' is unknown, never 0.

Examples:
  virt-trim list
  virt-trim -c qemu+ssh://root@hv2/system list --probe --json`;

/** `virt-trim list` */
export function registerList(program: Command, perform: Perform): void {
  program
    .command('list')
    .summary('show every domain: state, agent, sizes, last trim, frozen by whom')
    .description(
      'Shows every domain of the connection: state, guest agent as last known, capacity and allocation of its disks, last trim, and who froze it. Changes nothing.',
    )
    .option('--probe', 'ask each connected agent, bounded and in parallel')
    .addHelpText('after', help)
    .action((options: { probe?: boolean }) =>
      perform(async (context) => {
        const { runList } = await import('../list/run.ts');
        return runList(context, { probe: options.probe === true });
      }),
    );
}
