import type { Command } from 'commander';
import type { RawTrimOptions } from '../trim/options.ts';
import { collect } from './collect.ts';
import type { Perform } from './context.ts';

const help = `
Before is what the image took on the host, After what it takes when two readings agree. What the guest claims to have
trimmed is shown with -v only: it is not what the host got back.
A domain whose discards cannot reach the host is reported, not trimmed in vain ('virt-trim doctor' says what to do).
A domain named like an option is given behind '--', or by its UUID.

Examples:
  virt-trim trim web1 db1
  virt-trim trim --all --exclude 'test-*' --per-backend 1
  virt-trim trim --all tag:prod '!db*'
  virt-trim trim --all --dry-run --json`;

/** `virt-trim trim` */
export function registerTrim(program: Command, perform: Perform): void {
  program
    .command('trim')
    .summary('trim guests and measure what the host got back')
    .description(
      'Has the guest agents trim all filesystems (guest-fstrim) and measures on the host what came back, disk by disk, and why where nothing did.',
    )
    .argument('[domain...]', "name, UUID or id; with --all selectors: globs, tag:WORD, '!EXCLUDE'")
    .option('--all', 'every domain; those that are off, paused or have trim=no are passed over')
    .option('--exclude <glob>', 'leave out domains whose name matches; can be repeated', collect)
    .option('--minimum <size>', 'free ranges shorter than this are left alone (fstrim(8) --minimum)')
    .option('--parallel <n>', 'trims at once, in all (default: 8)')
    .option('--per-backend <n>', 'trims at once on one filesystem, export, volume group or pool (default: 2)')
    .option('--timeout <time>', 'give up waiting for one guest after this time (default: 30m, Windows 1h)')
    .option('-n, --dry-run', 'check everything and ask the agents, but trim nothing')
    .option('--force', 'trim also where discards do not seem to reach the host')
    .addHelpText('after', help)
    .action((domains: string[], raw: RawTrimOptions) =>
      perform(async (context) => {
        const { readTrimOptions } = await import('../trim/options.ts');
        const options = readTrimOptions(domains, raw);
        const { runTrim } = await import('../trim/run.ts');
        return runTrim(context, domains, options);
      }),
    );
}
