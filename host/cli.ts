import { Command, Option } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import type { Perform } from './commands/context.ts';
import { registerAgent } from './commands/agent.ts';
import { registerFreeze } from './commands/freeze.ts';
import { registerHook } from './commands/hook.ts';
import { registerLease } from './commands/lease.ts';
import { registerQuiesce } from './commands/quiesce.ts';
import { registerRecover } from './commands/recover.ts';
import { registerThaw } from './commands/thaw.ts';
import { registerCompletion } from './commands/completion.ts';
import { registerDaemon } from './commands/daemon.ts';
import { registerDemo } from './commands/demo.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerFix } from './commands/fix.ts';
import { registerList } from './commands/list.ts';
import { registerMan } from './commands/man.ts';
import { registerConfig } from './commands/config.ts';
import { registerPolicy } from './commands/policy.ts';
import { registerReport } from './commands/report.ts';
import { registerSizes } from './commands/sizes.ts';
import { registerSchedule } from './commands/schedule.ts';
import { registerTrim } from './commands/trim.ts';

export interface GlobalOptions {
  connect?: string[];
  json?: boolean;
  quiet?: boolean;
  verbose: number;
}

const exitStatusHelp = `
Exit status:
  0    done, and verified
  1    failed
  2    usage or configuration error
  3    refused: a required quiesce is impossible, or somebody else froze the guest
  32   domains were attempted and none succeeded
  64   some domains failed
  70   a guest may still be frozen (wins over all others)
  75   busy, try later
  130, 143  ended by SIGINT, SIGTERM

Environment:
  LIBVIRT_DEFAULT_URI   connection, where -c is not given
  VIRT_TRIM_STATE_DIR   history and leases; default /var/lib/virt-trim
  NO_COLOR              no colors

Documentation: virt-trim man | man -l -`;

/** The whole command line, defined once: --help, the man page and the shell completion are made from it. */
export function createProgram(perform: Perform): Command {
  const program = new Command('virt-trim')
    .description(packageJson.description)
    .version(packageJson.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addOption(
      new Option('-c, --connect <uri>', "libvirt connection URI, as for virsh; 'daemon' and 'schedule' take several").argParser(
        (uri: string, previous: string[] | undefined) => [...(previous ?? []), uri],
      ),
    )
    .option('--json', 'print the result as JSON on stdout')
    .option('-q, --quiet', 'only errors on stderr')
    .addOption(
      new Option('-v, --verbose', 'more on stderr; repeat for debug').default(0, '0').argParser((_value, previous: number) => previous + 1),
    )
    .showSuggestionAfterError()
    .addHelpText('after', exitStatusHelp);
  for (const register of [
    registerList,
    registerTrim,
    registerSizes,
    registerDoctor,
    registerFix,
    registerPolicy,
    registerConfig,
    registerReport,
    registerDaemon,
    registerSchedule,
    registerDemo,
    registerCompletion,
    registerMan,
    registerFreeze,
    registerThaw,
    registerLease,
    registerQuiesce,
    registerHook,
    registerRecover,
    registerAgent,
  ])
    register(program, perform);
  return program;
}
