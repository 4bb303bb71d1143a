import type { Command } from 'commander';
import type { RawHookOptions } from '../hook/options.ts';
import type { Perform } from './context.ts';
import { addWindowOptions } from './window-options.ts';

const preHelp = `
--mode trim trims the guests and returns. --mode freeze freezes them under a lease (60 s, or --lease) and returns; what is slow is done before
the freeze. The backup tool must call "hook post" before the lease runs out; where it never does, the guard thaws.
A second hook on a guest that is held gets 75, which backup tools such as borgmatic know as "try later".

Examples:
  virt-trim hook pre --mode trim db1 web1
  virt-trim hook pre --mode freeze --caller borgmatic --lease 5m db1`;

const postHelp = `
Thaws what "hook pre --mode freeze" of the same --caller froze. A guest whose lease has run out fails (1): what was copied is crash-consistent
at best. With --if-leased (for a tool's error hook) that is no error.

Examples:
  virt-trim hook post --caller borgmatic db1
  virt-trim hook post --caller borgmatic --if-leased db1`;

/** `virt-trim hook pre|post|adapters` */
export function registerHook(program: Command, perform: Perform): void {
  const hook = program
    .command('hook')
    .summary('for backup tools: before and after the backup')
    .description('What a backup tool calls before and after it copies the images of guests; "adapters" prints how, tool by tool.');
  addWindowOptions(
    hook
      .command('pre')
      .description('Before the backup: trims guests, or freezes them under a lease.')
      .argument('<domain...>', 'name, UUID or id')
      .requiredOption('--mode <mode>', 'trim or freeze')
      .option('--caller <name>', 'who asks; "hook post" finds the lease by it', 'hook'),
  )
    .addHelpText('after', preHelp)
    .action((words: string[], raw: RawHookOptions) =>
      perform(async (context) => {
        const { runHookPre } = await import('../hook/run-pre.ts');
        return runHookPre(context, words, raw);
      }),
    );
  hook
    .command('post')
    .description('After the backup: thaws what "hook pre" froze, and says whether it stayed frozen.')
    .argument('<domain...>', 'name, UUID or id')
    .option('--caller <name>', 'as for "hook pre"', 'hook')
    .option('--require <level>', 'fail (3) where the copy is less consistent: application, filesystem or crash')
    .option('--if-leased', 'a guest without a lease is no error')
    .option('--wait <time>', 'how long to wait for a guest to be verified thawed (default: 60s)')
    .addHelpText('after', postHelp)
    .action((words: string[], raw: RawHookOptions) =>
      perform(async (context) => {
        const { runHookPost } = await import('../hook/run-post.ts');
        return runHookPost(context, words, raw);
      }),
    );
  hook
    .command('adapters')
    .description('Prints a ready snippet for a backup tool; without a name, the tools.')
    .argument('[name]', 'the tool')
    .action((name: string | undefined) =>
      perform(async (context) => {
        const { printAdapter } = await import('../hook/adapters.ts');
        return Promise.resolve(printAdapter(context, name));
      }),
    );
}
