import type { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { Perform } from './context.ts';

const help = `
--prometheus writes a file for node_exporter's textfile collector, replaced in one step.
--nagios prints one line with perfdata and ends with 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN:
  critical  a guest frozen too long, or by somebody else; a storage that is full soon
  warning   an agent that does not answer, discards that do not get through, an overcommitted storage

Examples:
  virt-trim report --prometheus /var/lib/node_exporter/textfile/virt-trim.prom
  virt-trim report --nagios --frozen 2m`;

/** `virt-trim report` */
export function registerReport(program: Command, perform: Perform): void {
  program
    .command('report')
    .summary('for monitoring: a Prometheus textfile, or a Nagios check')
    .description(
      'Tells monitoring which agents do not answer, which guests are frozen, what was reclaimed and which storage could overflow.',
    )
    .option('--prometheus <file>', "write a textfile; '-' for stdout")
    .option('--nagios', 'print one line and end with 0, 1, 2 or 3')
    .option('--frozen <time>', 'with --nagios: a freeze longer than this is critical', '5m')
    .option('--full <time>', 'with --nagios: warn where a storage is full within this time', '30d')
    .addHelpText('after', help)
    .action((options: { prometheus?: string; nagios?: boolean; frozen: string; full: string }) =>
      perform(async (context) => {
        const { runNagios, runPrometheus } = await import('../report/run.ts');
        if (options.prometheus !== undefined && options.nagios !== true) return runPrometheus(context, options.prometheus);
        if (options.nagios === true && options.prometheus === undefined) return runNagios(context, options);
        throw new AppError('usage', 'give --prometheus FILE or --nagios');
      }),
    );
}
