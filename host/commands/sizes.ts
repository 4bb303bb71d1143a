import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Capacity    what the guest sees
Length      the highest offset in the file
Allocation  what it takes on the host now
Commitment  the most it can come to take; unbounded with internal snapshots
By trim     what a trim could give back at best: needs a running guest with an agent
By sparsify what a copy without holes would save: knows nothing of blocks the guest freed

Below it, each host filesystem: what its images take, could come to take, and by how much that exceeds the free space.

Examples:
  virt-trim sizes
  virt-trim sizes web1 'db*' --json
  virt-trim sizes --format qcow2 /srv/images/old.qcow2`;

/** `virt-trim sizes` */
export function registerSizes(program: Command, perform: Perform): void {
  program
    .command('sizes')
    .summary('capacity, length, allocation, commitment; which host filesystem could overflow')
    .description('Shows the four sizes of every image and, for each host filesystem, whether its images could fill it. Changes nothing.')
    .argument('[domain|file...]', 'domains (name, UUID, id, glob, tag:WORD, !exclude) or image files (with a slash); default all domains')
    .option('--format <format>', 'format of the image files that are named')
    .option('--no-agent', 'ask no guest how much its filesystems use')
    .option('--no-sparsify', 'do not read the images for the sparsify figure')
    .addHelpText('after', help)
    .action((words: string[], options: { format?: string; agent: boolean; sparsify: boolean }) =>
      perform(async (context) => {
        const { runSizes } = await import('../sizes/run.ts');
        return runSizes(context, { words, format: options.format ?? null, askGuests: options.agent, sparsify: options.sparsify });
      }),
    );
}
