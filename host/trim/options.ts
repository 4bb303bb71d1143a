import { AppError } from '../../shared/errors.ts';
import { parseDuration, parseSize } from '../../shared/units.ts';
import { checkSelection } from './select.ts';

/** The options as commander gives them. */
export interface RawTrimOptions {
  readonly all?: boolean;
  readonly exclude?: readonly string[];
  readonly minimum?: string;
  readonly parallel?: string;
  readonly perBackend?: string;
  readonly timeout?: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

export interface TrimOptions {
  readonly all: boolean;
  readonly exclude: readonly string[];
  /** Bytes; null leaves it to the policy and the guest. */
  readonly minimumBytes: number | null;
  readonly parallel: number;
  readonly perBackend: number;
  /** For guest-fstrim itself; null takes the guest OS's default. */
  readonly timeoutSeconds: number | null;
  readonly dryRun: boolean;
  readonly force: boolean;
}

function countOf(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (value < 1) throw new AppError('usage', `${name} '${text}': expected a whole number from 1 to 9999`, { context: { option: name } });
  return value;
}

function minimumOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const bytes = parseSize(text);
  if (bytes === null) {
    throw new AppError('usage', `--minimum '${text}': expected a size such as 1048576, 1M, 64KiB or 64KB (fstrim(8))`, {
      context: { option: '--minimum' },
    });
  }
  return bytes;
}

function timeoutOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds < 1000 || milliseconds > 7 * 86_400_000) {
    throw new AppError('usage', `--timeout '${text}': expected a duration from 1s to 7d, such as 90s, 30m or 2h`, {
      context: { option: '--timeout' },
    });
  }
  return Math.ceil(milliseconds / 1000);
}

/** @throws AppError `usage`, naming the option, its value and what is expected. */
export function readTrimOptions(domains: readonly string[], raw: RawTrimOptions): TrimOptions {
  checkSelection({ words: domains, all: raw.all === true });
  return {
    all: raw.all === true,
    exclude: raw.exclude ?? [],
    minimumBytes: minimumOf(raw.minimum),
    parallel: countOf('--parallel', raw.parallel, 8),
    perBackend: countOf('--per-backend', raw.perBackend, 2),
    timeoutSeconds: timeoutOf(raw.timeout),
    dryRun: raw.dryRun === true,
    force: raw.force === true,
  };
}
