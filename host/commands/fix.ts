import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Fixes:
  driver-discard    discard='unmap' on every disk that lacks it (not on encrypted or shared ones)
  discard-no-unref  where trims fragmented a qcow2 image; libvirt 9.5 and QEMU 8.1
  granularity       a discard granularity that suits Windows; a later libvirt
  machine-type      a newer type of the same chipset, for virtio-blk; only when named, for it changes more than discard

The change is made in the configuration, and takes effect after the domain was shut down and started again. The XML from before is kept
(0600, in the state directory). Refused: domains that OpenStack, oVirt, KubeVirt, CloudStack or OpenNebula own, transient ones, and
whatever libvirt would make of the change beyond what was shown. While a job runs: 75.

Examples:
  virt-trim fix web1
  virt-trim fix web1 --only machine-type --print-diff
  virt-trim fix web1 --revert`;

/** `virt-trim fix` */
export function registerFix(program: Command, perform: Perform): void {
  program
    .command('fix')
    .summary('mend what doctor found in the domain XML: shows the diff, asks, can take it back')
    .description("Changes a domain's configuration so that discards get through: shows the difference, asks, keeps the old XML.")
    .argument('<domain>', 'name, UUID or id')
    .option('--only <rule>', 'only this fix; can be repeated', (rule: string, earlier: string[] | undefined) => [...(earlier ?? []), rule])
    .option('--machine <type>', 'with --only machine-type: this type instead of the newest of the chipset')
    .option('--print-diff', 'show the difference and change nothing')
    .option('--yes', 'do not ask')
    .option('--revert', 'put back the XML from before the last fix')
    .addHelpText('after', help)
    .action((domain: string, options: { only?: string[]; machine?: string; printDiff?: boolean; yes?: boolean; revert?: boolean }) =>
      perform(async (context) => {
        const { runFix } = await import('../doctor/fix/run.ts');
        const { only = [], machine = null, printDiff = false, yes = false, revert = false } = options;
        return runFix(context, { domain, only, machine, printDiff, yes, revert });
      }),
    );
}
