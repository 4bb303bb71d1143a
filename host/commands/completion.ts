import type { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { Perform } from './context.ts';

/** `virt-trim completion SHELL` */
export function registerCompletion(program: Command, perform: Perform): void {
  program
    .command('completion')
    .summary('print a completion script for bash, zsh or fish')
    .description('Prints a completion script. Domain names are completed live, from the connection that the command line names.')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', '\nExample:\n  virt-trim completion bash > /usr/share/bash-completion/completions/virt-trim')
    .action((shell: string) =>
      perform(async (context) => {
        const { renderCompletion } = await import('../report/completion.ts');
        const script = renderCompletion(program, shell);
        if (script === null) throw new AppError('usage', `completion: unknown shell '${shell}': expected bash, zsh or fish`);
        context.out(script);
        return 0;
      }),
    );
}
