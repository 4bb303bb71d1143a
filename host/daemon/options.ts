import { AppError } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/units.ts';

const defaultStopTimeoutMs = 60_000;
const longestStopTimeoutMs = 86_400_000;

/** @throws AppError `usage`. */
export function readDaemonOptions(raw: { readonly once?: boolean; readonly stopTimeout?: string }): {
  once: boolean;
  stopTimeoutMs: number;
} {
  const stopTimeoutMs = raw.stopTimeout === undefined ? defaultStopTimeoutMs : parseDuration(raw.stopTimeout);
  if (stopTimeoutMs === null || stopTimeoutMs > longestStopTimeoutMs) {
    throw new AppError('usage', `--stop-timeout '${raw.stopTimeout ?? ''}': expected a duration of at most 24h, such as 60s or 5m`, {
      context: { option: '--stop-timeout' },
    });
  }
  return { once: raw.once === true, stopTimeoutMs };
}
