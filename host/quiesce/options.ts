import { AppError } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/units.ts';
import type { RequiredLevel } from './consistency.ts';

/** The options of freeze, quiesce and hook as commander gives them. */
export interface RawWindowOptions {
  readonly lease?: string;
  readonly require?: string;
  readonly mountpoint?: readonly string[];
  readonly wait?: string;
  readonly windows?: boolean;
  readonly force?: boolean;
  readonly peer?: readonly string[];
}

/** What the command line said; null leaves it to the policy. */
export interface WindowOptions {
  readonly leaseSeconds: number | null;
  readonly require: RequiredLevel | null;
  readonly mountpoints: readonly string[] | null;
  readonly waitMs: number;
  readonly windows: boolean | null;
  readonly force: boolean;
  readonly peers: readonly string[];
}

const defaultWaitMs = 60_000;

function durationOf(option: string, text: string, least: number, most: number): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds < least || milliseconds > most) {
    throw new AppError('usage', `${option} '${text}': expected a duration from ${least / 1000} s to ${most / 1000} s, such as 60s or 5m`, {
      context: { option },
    });
  }
  return milliseconds;
}

/** @returns seconds. @throws AppError `usage`. */
export function readLeaseOption(text: string): number {
  return durationOf('--lease', text, 1000, 3_600_000) / 1000;
}

/** How long to wait for a guest to be verified thawed. @returns milliseconds. @throws AppError `usage`. */
export function readWaitOption(text: string | undefined): number {
  return text === undefined ? defaultWaitMs : durationOf('--wait', text, 0, 3_600_000);
}

/** Connections, separated by blanks: a lease's record keeps them in one line. */
function readPeers(raw: readonly string[] | undefined, env: NodeJS.ProcessEnv): string[] {
  const peers = raw ?? (env['VIRT_TRIM_PEERS'] ?? '').split(/\s+/).filter((peer) => peer !== '');
  const bad = peers.find((peer) => /\s/.test(peer));
  if (bad !== undefined) throw new AppError('usage', `--peer '${bad}': a connection URI has no blanks`, { context: { option: '--peer' } });
  return [...peers];
}

/** @throws AppError `usage`, naming the option, its value and what is expected. */
export function readWindowOptions(raw: RawWindowOptions, env: NodeJS.ProcessEnv): WindowOptions {
  const levels: readonly RequiredLevel[] = ['application', 'filesystem', 'crash'];
  const require = levels.find((level) => level === raw.require);
  if (raw.require !== undefined && require === undefined) {
    throw new AppError('usage', `--require '${raw.require}': expected ${levels.join(', ')}`, { context: { option: '--require' } });
  }
  return {
    leaseSeconds: raw.lease === undefined ? null : readLeaseOption(raw.lease),
    require: require ?? null,
    mountpoints: raw.mountpoint ?? null,
    waitMs: readWaitOption(raw.wait),
    windows: raw.windows ?? null,
    force: raw.force === true,
    peers: readPeers(raw.peer, env),
  };
}
