import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Files: /etc/virt-trim/config.yaml, then /etc/virt-trim/conf.d/*.yaml in the order of their names; later ones win.
VIRT_TRIM_CONFIG_DIR names another directory. Unknown keys are errors that name file and line.

Examples:
  virt-trim config show
  virt-trim config show --effective web1
  virt-trim config schema > virt-trim.schema.json`;

/** `virt-trim config` */
export function registerConfig(program: Command, perform: Perform): void {
  const config = program
    .command('config')
    .summary('show and check the configuration')
    .description('Shows the configuration files as they were read, or what they and all else come to for a domain.')
    .addHelpText('after', help);
  config
    .command('show')
    .description('show what the files say, with file and line; with --effective, what holds for domains')
    .argument('[domain...]', 'with --effective: name, UUID, id or selector; default all')
    .option('--effective', 'every setting as it holds, and where it comes from')
    .action((words: string[], options: { effective?: boolean }) =>
      perform(async (context) => {
        const { runConfigShow, runPolicyShow } = await import('../policy/run.ts');
        return options.effective === true || words.length > 0 ? runPolicyShow(context, words) : runConfigShow(context);
      }),
    );
  config
    .command('schema')
    .description('print the JSON schema of a configuration file')
    .action(() =>
      perform(async (context) => {
        const { runConfigSchema } = await import('../policy/run.ts');
        return runConfigSchema(context);
      }),
    );
}
