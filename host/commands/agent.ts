import type { Command } from 'commander';
import type { RawInstallOptions } from '../install/options.ts';
import { collect } from './collect.ts';
import type { Perform } from './context.ts';

const installHelp = `
Ways (--via), where none is named the first of offline and ssh that works:
  offline     the domain is off: libguestfs changes an overlay, which is committed into the image at the end
  ssh         the domain runs: your own ssh, keys and known_hosts; sudo without a password where you are not root
  cloud-init  the domain is off: a seed ISO for a guest that has cloud-init; --print prints the user data instead
  iso         the domain runs: an ISO with the agent; it prints the one line to type on the guest's console
  agent       an agent answers and allows guest-exec: upgrades itself (--upgrade)
It ends when the agent has answered, a freeze and thaw under a lease worked, and so did the dry run of a trim. A step that fails
or is interrupted leaves XML and image as they were; what a killed run left is undone by 'virt-trim recover'.

Examples:
  virt-trim agent install web1 --ssh root@web1.example.org
  virt-trim agent install db1 --boot --package ./qemu-guest-agent_7.2_amd64.deb
  virt-trim agent install old1 --via iso
  virt-trim agent install --all-missing --ssh 'admin@{name}.example.org' --dry-run
  virt-trim agent install --via cloud-init --print any > user-data`;

const statusHelp = `
Examples:
  virt-trim agent status
  virt-trim agent status 'web*' --json`;

const removeHelp = `
Takes away what 'agent install' brought, by the list that the guest keeps, and the channel if it came with it; an agent that was
there before is left alone.

Examples:
  virt-trim agent remove web1 --ssh root@web1.example.org`;

/** `virt-trim agent status|install|remove` */
export function registerAgent(program: Command, perform: Perform): void {
  const agent = program
    .command('agent')
    .summary('get an agent into a guest, or out of it')
    .description('Shows, installs and removes guest agents.');
  agent
    .command('status')
    .summary('show which guests have an agent, and how the others could get one')
    .description(
      'Shows channel, agent, version and known defects of every domain, and by which way an agent could be installed. Changes nothing.',
    )
    .argument('[domain...]', 'name, UUID or id; default: all')
    .addHelpText('after', statusHelp)
    .action((domains: string[]) =>
      perform(async (context) => {
        const { runAgentStatus } = await import('../install/status.ts');
        return runAgentStatus(context, domains);
      }),
    );
  const targets = (command: Command): Command =>
    command
      .argument('[domain...]', 'name, UUID or id')
      .option('--via <way>', 'offline, ssh, cloud-init, iso or agent')
      .option('--ssh <target>', "[USER@]HOST[:PORT]; {name} stands for the domain's name")
      .option('--ssh-config <file>', 'ssh configuration file (ssh -F)')
      .option('--timeout <time>', 'wait this long for the agent (default: 5m)')
      .option('-n, --dry-run', 'list the steps, change nothing');
  targets(agent.command('install'))
    .summary('give a guest a channel and an agent, and prove that it works')
    .description(
      "Adds the agent's channel to the domain, installs the distribution's qemu-guest-agent or virt-trim's own agent in the guest, and proves that it freezes, thaws and trims.",
    )
    .option('--agent <kind>', "auto, qemu-ga (the distribution's) or virt-trim (our own); default: auto")
    .option('--package <file...>', 'package files to install, for a guest without network')
    .option('--iso <file>', 'the virtio-win ISO, for a Windows guest')
    .option('--boot', 'start a domain that is off for the proof, and shut it down again')
    .option('--upgrade', 'also where an agent answers already')
    .option('--print', 'with --via cloud-init: print the user data')
    .option('--all-missing', 'every domain that has no agent; names are selectors then')
    .option('--exclude <glob>', 'leave out domains whose name matches; can be repeated', collect)
    .addHelpText('after', installHelp)
    .action((domains: string[], raw: RawInstallOptions) =>
      perform(async (context) => {
        const { readInstallOptions } = await import('../install/options.ts');
        const options = readInstallOptions(domains, raw);
        const { runAgentInstall } = await import('../install/run.ts');
        return runAgentInstall(context, domains, options);
      }),
    );
  targets(agent.command('remove'))
    .summary("take away what 'agent install' brought")
    .description("Removes from guest and XML exactly what 'agent install' brought.")
    .addHelpText('after', removeHelp)
    .action((domains: string[], raw: RawInstallOptions) =>
      perform(async (context) => {
        const { readInstallOptions } = await import('../install/options.ts');
        const options = readInstallOptions(domains, raw);
        const { runAgentRemove } = await import('../install/run.ts');
        return runAgentRemove(context, domains, options);
      }),
    );
}
