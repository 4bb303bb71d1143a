import { AppError } from '../../shared/errors.ts';
import type { RawWindowOptions } from '../quiesce/options.ts';

/** The options of `hook pre` and `hook post` as commander gives them. */
export interface RawHookOptions extends RawWindowOptions {
  readonly mode?: string;
  readonly caller?: string;
  readonly ifLeased?: boolean;
}

/** A caller is one word: it stands in the lease's record and in commands. @throws AppError `usage`. */
export function readCaller(text: string | undefined): string {
  const caller = text ?? 'hook';
  if (/^[A-Za-z0-9_.-]{1,40}$/.test(caller)) return caller;
  throw new AppError('usage', `--caller '${caller}': expected one word of letters, digits and . _ -`, { context: { option: '--caller' } });
}
