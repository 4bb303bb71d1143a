import { AppError } from '../../shared/errors.ts';
import type { CommandContext } from '../commands/context.ts';
import { readWindowOptions } from '../quiesce/options.ts';
import { readCaller, type RawHookOptions } from './options.ts';

/** `virt-trim hook pre` */
export async function runHookPre(context: CommandContext, words: readonly string[], raw: RawHookOptions): Promise<number> {
  const caller = readCaller(raw.caller);
  switch (raw.mode) {
    case 'trim': {
      const { readTrimOptions } = await import('../trim/options.ts');
      const { runTrim } = await import('../trim/run.ts');
      return runTrim(context, words, readTrimOptions(words, {}));
    }
    case 'freeze': {
      const options = readWindowOptions(raw, context.env);
      const { runFreeze } = await import('../quiesce/run-freeze.ts');
      return runFreeze(context, { command: 'hook pre', words, options, caller });
    }
    default:
      throw new AppError('usage', `--mode '${raw.mode ?? ''}': expected trim or freeze`, { context: { option: '--mode' } });
  }
}
