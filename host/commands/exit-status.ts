import type { AppError } from '../../shared/errors.ts';
import { exitStatus } from './context.ts';

/** How a domain ended, as far as the exit status is concerned. */
export type Outcome = 'ok' | 'neutral' | 'failed';

/**
 * The exit status of a run over domains: 0 all done, 32 domains were attempted and none succeeded, 64 some failed.
 * A named domain that had to be skipped is a failure; under --all what is off, paused or excluded is neutral.
 */
export function statusOfOutcomes(outcomes: readonly Outcome[]): number {
  const failed = outcomes.filter((outcome) => outcome === 'failed').length;
  if (failed === 0) return exitStatus.done;
  return outcomes.includes('ok') ? exitStatus.someFailed : exitStatus.allFailed;
}

/** The exit status of an error that ended the whole run. */
export function statusOfError(error: AppError): number {
  switch (error.code) {
    case 'usage':
    case 'config':
      return exitStatus.usage;
    case 'refused':
      return exitStatus.refused;
    case 'busy':
      return exitStatus.busy;
    case 'interrupted':
      return error.context['signal'] === 'SIGTERM' ? exitStatus.terminated : exitStatus.interrupted;
    default:
      return exitStatus.failed;
  }
}
