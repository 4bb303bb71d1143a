import type { Log } from './log.ts';
import { chooseSplay, isVirtualMachine } from './machine.ts';
import type { Marker } from './freeze/marker.ts';
import { QgaError } from './qga-error.ts';
import type { Options } from './settings.ts';
import { pollFlags } from './sys.ts';
import type { Sys } from './sys.ts';
import type { TrimmedPath, Trimmer } from './trim/trimmer.ts';
import type { Worker } from './worker.ts';

/** As fstrim(8): 0, 32 when all failed, 64 when some did. */
const exits = { done: 0, failed: 1, allFailed: 32, someFailed: 64, busy: 75 } as const;

export interface OnceSettings {
  readonly sys: Sys;
  readonly options: Options;
  readonly log: Log;
  readonly worker: Worker;
  readonly trimmer: Trimmer;
  readonly marker: Marker;
}

/** `--once`: waits its splay, trims every filesystem and says one line for each, on stdout and to the log. Returns the exit status. */
export function trimOnce({ sys, options, log, worker, trimmer, marker }: OnceSettings): number {
  if (!options.force && !isVirtualMachine(sys)) {
    log.write('notice', 'not trimmed: this does not look like a virtual machine (--force trims it all the same)');
    return exits.done;
  }
  const splay = chooseSplay(sys, options.splaySeconds);
  if (splay > 0) sys.sleepMs(splay * 1000);
  if (marker.read({ deadlineMs: 0, seconds: 0 })?.expired === false) {
    log.write('warning', 'not trimmed: the guest is frozen');
    return exits.busy;
  }
  const paths: TrimmedPath[] = [];
  let failure: string | undefined;
  try {
    trimmer.trim(String(options.minimumBytes), (answer) => {
      if ('error' in answer) failure = answer.error;
      else paths.push(...(answer.value as { readonly paths: readonly TrimmedPath[] }).paths);
    });
    while (worker.busy) {
      sys.poll([worker.fd], [pollFlags.in], [], -1);
      worker.finish();
    }
  } catch (thrown) {
    if (!(thrown instanceof QgaError)) throw thrown;
    failure = thrown.message;
  }
  if (failure !== undefined) {
    log.write('error', failure);
    return exits.failed;
  }
  return report(sys, log, paths.toReversed());
}

function report(sys: Sys, log: Log, paths: readonly TrimmedPath[]): number {
  let failed = 0;
  let trimmed = 0;
  for (const { path, trimmed: bytes, error } of paths) {
    if (error === undefined) trimmed++;
    else if (isFailure(error)) failed++;
    const line = `${path}: ${error ?? `${bytes ?? 0} bytes trimmed`}`;
    sys.write(1, `${line}\n`);
    log.write(error !== undefined && isFailure(error) ? 'warning' : 'info', line);
  }
  if (failed === 0) return exits.done;
  return trimmed === 0 ? exits.allFailed : exits.someFailed;
}

/** A filesystem that cannot be trimmed, or is mounted read-only, is as it should be. */
function isFailure(error: string): boolean {
  return error !== 'trim not supported' && !error.endsWith('Read-only file system');
}
