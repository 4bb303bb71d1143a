import type { Command } from 'commander';
import type { Perform } from './context.ts';

const help = `
Verdicts:
  ok       a discard gets through here
  warning  it gets through, at a price or in part
  BLOCKS   it does not: a trim gives nothing back
  unknown  cannot be seen from here; the line says how to find out

Reads the domain XML (as it runs and as it is configured), the running QEMU's command line, the headers of the images, the storage
below them, and asks connected agents. Changes nothing and writes nothing, unless --probe asks it to try a hole in a scratch file.

Exit status: 0, with --check 1 where something blocks; 32 or 64 where domains could not be examined.

Examples:
  virt-trim doctor
  virt-trim doctor web1 -v
  virt-trim doctor --check --no-agent 'prod-*'`;

/** `virt-trim doctor` */
export function registerDoctor(program: Command, perform: Perform): void {
  program
    .command('doctor')
    .summary('say per disk whether a trim can give space back, and what stands in the way')
    .description(
      'Walks the layers a discard has to pass, from the guest to the host, and says per disk what stands in the way, why, and how to mend it.',
    )
    .argument('[domain...]', 'name, UUID, id, glob, tag:WORD or !exclude; default all domains')
    .option('--check', 'one line; exit status 1 where something blocks')
    .option('--no-agent', 'ask no guest')
    .option('--probe', 'write, punch and remove a scratch file beside each image, to see what its storage does with a hole')
    .addHelpText('after', help)
    .action((words: string[], options: { check?: boolean; agent: boolean; probe?: boolean }) =>
      perform(async (context) => {
        const { runDoctor } = await import('../doctor/run.ts');
        const { check = false, agent, probe = false } = options;
        return runDoctor(context, { words, check, askAgents: agent, probeStorage: probe });
      }),
    );
}
