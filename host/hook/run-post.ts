import type { CommandContext } from '../commands/context.ts';
import { readWindowOptions } from '../quiesce/options.ts';
import { runThaw } from '../quiesce/run-thaw.ts';
import { readCaller, type RawHookOptions } from './options.ts';

/** `virt-trim hook post` */
export async function runHookPost(context: CommandContext, words: readonly string[], raw: RawHookOptions): Promise<number> {
  const { waitMs, require } = readWindowOptions(raw, context.env);
  return runThaw(context, {
    command: 'hook post',
    words,
    all: false,
    leased: true,
    force: false,
    waitMs,
    caller: readCaller(raw.caller),
    mustBeLeased: raw.ifLeased !== true,
    require: require ?? 'crash',
  });
}
