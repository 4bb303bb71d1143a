import { runAgent } from './agent.ts';
import { dumpConfig } from './config-file.ts';
import { listCommandNames, readOptions } from './options.ts';
import { UsageError } from './settings.ts';
import type { Options } from './settings.ts';
import type { Sys } from './sys.ts';
import { usageText } from './usage.ts';
import { agentVersion } from './version.ts';

/** The native side's global. */
declare const sys: Sys;

function run(): number {
  let options: Options;
  try {
    options = readOptions(sys);
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    sys.write(2, `virt-trim-agent: ${thrown.message}\n`);
    return 1;
  }
  switch (options.action) {
    case 'version':
      return print(`virt-trim-agent ${agentVersion}\n`);
    case 'help':
      return print(usageText);
    case 'listCommands':
      return print(listCommandNames());
    case 'dumpConfig':
      return print(dumpConfig(options));
    default:
      return runAgent(sys, options);
  }
}

function print(text: string): number {
  return sys.write(1, text) === text.length ? 0 : 1;
}

sys.exit(run());
