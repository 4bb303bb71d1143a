import type { Command } from 'commander';
import type { Perform } from './context.ts';

/** `virt-trim man` */
export function registerMan(program: Command, perform: Perform): void {
  program
    .command('man')
    .summary('print the manual page')
    .description('Prints the manual page in roff, made from the same definitions as --help.')
    .addHelpText('after', '\nExample:\n  virt-trim man | man -l -')
    .action(() =>
      perform(async (context) => {
        const { renderManPage } = await import('../report/man-page.ts');
        context.out(renderManPage(program));
        return 0;
      }),
    );
}
