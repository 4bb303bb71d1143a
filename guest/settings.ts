import { watchdogMaxSeconds, watchdogMinSeconds } from '../shared/qga/watchdog.ts';
import { parseDuration } from './duration.ts';
import type { Transport } from './channel.ts';

export interface Options {
  method: Transport;
  path: string | undefined;
  logFile: string | undefined;
  pidFile: string;
  stateDirectory: string;
  verbose: boolean;
  daemonize: boolean;
  retryPath: boolean;
  blocked: string[];
  /** Of `-a`: nothing else may be called. */
  allowed: string[] | undefined;
  watchdogSeconds: number;
  action: 'serve' | 'dumpConfig' | 'version' | 'help' | 'listCommands' | 'once';
  /** `--once`: how many seconds at most to wait, by the machine's id, before it begins. */
  splaySeconds: number;
  minimumBytes: number;
  /** `--once` on a machine that does not look virtual. */
  force: boolean;
}

/** A command line or configuration that cannot be followed; the message is one line for the administrator. */
export class UsageError extends Error {}

export const defaultPaths: Readonly<Record<Transport, string | undefined>> = {
  'virtio-serial': '/dev/virtio-ports/org.qemu.guest_agent.0',
  'isa-serial': '/dev/ttyS0',
  'unix-listen': undefined,
};

export function toTransport(name: string): Transport {
  if (name === 'virtio-serial' || name === 'isa-serial' || name === 'unix-listen') return name;
  throw new UsageError(`unsupported channel method/type: ${name}`);
}

export function refuseHooks(): never {
  throw new UsageError('freeze hooks (-F) are not supported: this agent starts no processes; a guest that needs hooks keeps qemu-ga');
}

export function toWatchdogSeconds(value: string): number {
  const seconds = parseDuration(value);
  if (seconds === undefined || seconds < watchdogMinSeconds || seconds > watchdogMaxSeconds) {
    return badValue('--watchdog', value, `${watchdogMinSeconds} to ${watchdogMaxSeconds} seconds`);
  }
  return seconds;
}

export function badValue(flag: string, value: string, wanted: string): never {
  throw new UsageError(`${flag} takes ${wanted}, not '${value}'`);
}

/** A blocked command is answered CommandNotFound. */
export function isBlocked(options: Options, name: string): boolean {
  return options.blocked.includes(name) || (options.allowed !== undefined && !options.allowed.includes(name));
}
