import { defaultPaths, refuseHooks, toTransport, toWatchdogSeconds, UsageError } from './settings.ts';
import type { Options } from './settings.ts';
import type { Sys } from './sys.ts';
import { readText } from './text-file.ts';

const defaultFile = '/etc/qemu/qemu-ga.conf';

/**
 * qemu-ga's configuration file (or the one that QGA_CONF names): group [general] of a GLib key file. An administrator who blocked a
 * command there blocked it for us too. @throws UsageError
 */
export function applyConfigFile(sys: Sys, options: Options): void {
  const file = sys.env('QGA_CONF') ?? defaultFile;
  const text = readText(sys, file);
  let group = '';
  for (const raw of text === undefined ? [] : text.split('\n')) {
    const line = raw.trim();
    if (line.startsWith('[') && line.endsWith(']')) {
      group = line.slice(1, -1);
      continue;
    }
    const equals = line.indexOf('=');
    if (group === 'general' && equals > 0 && !line.startsWith('#')) {
      applyKey(options, { file, key: line.slice(0, equals).trim(), value: line.slice(equals + 1).trim() });
    }
  }
}

function applyKey(options: Options, entry: { readonly file: string; readonly key: string; readonly value: string }): void {
  const { value } = entry;
  switch (entry.key) {
    case 'daemon':
      options.daemonize = toBoolean(entry);
      break;
    case 'method':
      options.method = toTransport(value);
      break;
    case 'path':
      options.path = value;
      break;
    case 'logfile':
      options.logFile = value;
      break;
    case 'pidfile':
      options.pidFile = value;
      break;
    case 'statedir':
      options.stateDirectory = value;
      break;
    case 'verbose':
      options.verbose = toBoolean(entry);
      break;
    case 'retry-path':
      options.retryPath = toBoolean(entry);
      break;
    // qemu-ga reads commas here, and GLib's own separator is the semicolon: its own test file has that.
    case 'block-rpcs':
    case 'blacklist':
      options.blocked.push(...splitNames(value));
      break;
    case 'allow-rpcs':
      options.allowed = splitNames(value);
      break;
    case 'watchdog':
      options.watchdogSeconds = toWatchdogSeconds(value);
      break;
    case 'fsfreeze-hook':
      refuseHooks();
  }
}

function toBoolean({ file, key, value }: { readonly file: string; readonly key: string; readonly value: string }): boolean {
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new UsageError(`${file}: ${key} is true or false, not '${value}'`);
}

function splitNames(value: string): string[] {
  return value
    .split(',')
    .flatMap((part) => part.split(';'))
    .filter((name) => name !== '');
}

/** `-D`: the settings in force, as a file that can be read back. */
export function dumpConfig(options: Options): string {
  const lines = [
    '[general]',
    `daemon=${options.daemonize}`,
    `method=${options.method}`,
    `path=${options.path ?? defaultPaths[options.method] ?? ''}`,
    ...(options.logFile === undefined ? [] : [`logfile=${options.logFile}`]),
    `pidfile=${options.pidFile}`,
    `statedir=${options.stateDirectory}`,
    `verbose=${options.verbose}`,
    `retry-path=${options.retryPath}`,
    `block-rpcs=${options.blocked.join(';')}`,
    ...(options.allowed === undefined ? [] : [`allow-rpcs=${options.allowed.join(';')}`]),
    `watchdog=${options.watchdogSeconds}`,
  ];
  return `${lines.join('\n')}\n`;
}
