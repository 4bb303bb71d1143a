import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Settings:
  trim             yes or no: whether --all and the schedule may trim it
  minimum          free ranges shorter than this are left alone (64K)
  timeout          for one trim in the guest (30m)
  exclude-disks    targets or globs, separated by commas (vdb,sd*)
  quiesce          crash, filesystem or application: what a freeze must reach
  lease            how long a freeze may last (60s)
  windows-freeze   yes or no: a VSS freeze can truncate the logs of applications
  schedule         cron expression of five fields, or none
  tags             words for selectors, separated by commas
  (time-zone, window, maintenance, catch-up, backend: see docs/policy.md)

They are kept in the domain's own <metadata>, live and in its configuration, and go with it to another host. Flags and environment win
over them; /etc/virt-trim/config.yaml and conf.d/ stand behind them.

Examples:
  virt-trim policy show web1
  virt-trim policy set web1 minimum=1M exclude-disks=vdb tags=prod,web
  virt-trim policy unset web1 minimum`;

/** `virt-trim policy` */
export function registerPolicy(program: Command, perform: Perform): void {
  const policy = program
    .command('policy')
    .summary("show or change a domain's own settings")
    .description("Shows what holds for a domain and where it comes from, and changes the settings in the domain's metadata.")
    .addHelpText('after', help);
  policy
    .command('show')
    .description('show every setting of these domains, and where it comes from')
    .argument('[domain...]', 'name, UUID, id or selector; default all')
    .action((words: string[]) =>
      perform(async (context) => {
        const { runPolicyShow } = await import('../policy/run.ts');
        return runPolicyShow(context, words);
      }),
    );
  policy
    .command('set')
    .description("set settings in the domain's metadata")
    .argument('<domain>', 'name, UUID or id')
    .argument('<key=value...>')
    .action((domain: string, words: string[]) =>
      perform(async (context) => {
        const { runPolicyChange } = await import('../policy/run.ts');
        return runPolicyChange(context, { domain, words, unset: false });
      }),
    );
  policy
    .command('unset')
    .description("remove settings from the domain's metadata")
    .argument('<domain>', 'name, UUID or id')
    .argument('<key...>')
    .action((domain: string, words: string[]) =>
      perform(async (context) => {
        const { runPolicyChange } = await import('../policy/run.ts');
        return runPolicyChange(context, { domain, words, unset: true });
      }),
    );
}
