import { Option, type Command } from 'commander';
import type { DemoAgent } from '../demo/demo-agent.ts';
import type { Perform } from './context.ts';

const help = `
Needs root on Debian 12 or 13 with libvirt and QEMU installed ('npm run demo' in the source tree installs them).
No domain, daemon or setting of this machine is touched. Guest, hypervisor and temporary files are removed at the end,
after Ctrl-C too; Debian's kernel for the guest is kept in /var/cache/virt-trim-demo for the next time.`;

/** `virt-trim demo` */
export function registerDemo(program: Command, perform: Perform): void {
  program
    .command('demo')
    .summary('show it on a throw-away guest')
    .description(
      'Boots a throw-away guest on a private hypervisor, fills and empties its disk, trims it, and shows what the host got back.',
    )
    .option('--purge', 'remove what was downloaded too')
    .addOption(
      new Option('--agent <kind>', "the guest's agent: virt-trim's own where this installation has it, else qemu-ga").choices([
        'virt-trim',
        'qemu-ga',
      ]),
    )
    .addHelpText('after', help)
    .action((raw: { purge?: boolean; agent?: DemoAgent }) =>
      perform(async (context) => {
        const { runDemo } = await import('../demo/demo.ts');
        return runDemo(context, { purge: raw.purge === true, agent: raw.agent ?? null });
      }),
    );
}
