import { watchdogDefaultSeconds } from '../shared/qga/watchdog.ts';
import { parseDuration } from './duration.ts';
import { commandTable } from './commands/table.ts';
import { applyConfigFile } from './config-file.ts';
import { badValue, defaultPaths, refuseHooks, toTransport, toWatchdogSeconds, UsageError } from './settings.ts';
import type { Options } from './settings.ts';
import type { Sys } from './sys.ts';

/** Long names and their letters as qemu-ga has them; `=` after a letter says that a value follows. */
const flags: Readonly<Record<string, string>> = {
  method: 'm=',
  path: 'p=',
  logfile: 'l=',
  pidfile: 'f=',
  statedir: 't=',
  verbose: 'v',
  version: 'V',
  daemonize: 'd',
  'block-rpcs': 'b=',
  blacklist: 'b=',
  'allow-rpcs': 'a=',
  'dump-conf': 'D',
  'retry-path': 'r',
  help: 'h',
  'fsfreeze-hook': 'F',
  watchdog: 'watchdog=',
  once: 'once',
  splay: 'splay=',
  minimum: 'minimum=',
  force: 'force',
};

/** The defaults, then the configuration file, then the command line. @throws UsageError */
export function readOptions(sys: Sys): Options {
  const options: Options = {
    method: 'virtio-serial',
    path: undefined,
    logFile: undefined,
    pidFile: '/run/virt-trim-agent.pid',
    stateDirectory: '/run',
    verbose: false,
    daemonize: false,
    retryPath: false,
    blocked: [],
    allowed: undefined,
    watchdogSeconds: watchdogDefaultSeconds,
    action: 'serve',
    splaySeconds: 0,
    minimumBytes: 0,
    force: false,
  };
  applyConfigFile(sys, options);
  for (const [flag, value] of splitCommandLine(sys.args)) applyFlag(options, flag, value);
  if (options.action === 'serve' && options.path === undefined) {
    options.path = defaultPaths[options.method];
    if (options.path === undefined) throw new UsageError('must specify a path for this channel');
  }
  return options;
}

/** getopt's forms: `-m value`, `-mvalue`, `-dv`, `--method value`, `--method=value`. */
function splitCommandLine(args: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg.startsWith('--')) {
      const [name = '', ...values] = arg.slice(2).split('=');
      const flag = flags[name];
      if (flag === undefined) throw unknownOption();
      const takesValue = flag.length > 1 && flag.endsWith('=');
      const value = !takesValue || values.length > 0 ? values.join('=') : needValue(name, rest.shift());
      found.push([takesValue ? flag.slice(0, -1) : flag, value]);
    } else if (arg.startsWith('-') && arg.length > 1) {
      splitLetters(arg.slice(1), rest, found);
    } else {
      throw new UsageError(`unexpected argument '${arg}', try '--help' for more information`);
    }
  }
  return found;
}

function splitLetters(letters: string, rest: string[], found: [string, string][]): void {
  for (let at = 0; at < letters.length; at++) {
    const letter = letters.charAt(at);
    const known = Object.values(flags);
    if (known.includes(`${letter}=`)) {
      const inline = letters.slice(at + 1);
      found.push([letter, inline === '' ? needValue(letter, rest.shift()) : inline]);
      return;
    }
    if (!known.includes(letter)) throw unknownOption();
    found.push([letter, '']);
    // Its value is optional, and stands behind it without a blank.
    if (letter === 'F') return;
  }
}

function needValue(name: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`option requires an argument: '${name}'`);
  return value;
}

function unknownOption(): UsageError {
  return new UsageError(`Unknown option, try 'virt-trim-agent --help' for more information.`);
}

function applyFlag(options: Options, flag: string, value: string): void {
  switch (flag) {
    case 'm':
      options.method = toTransport(value);
      break;
    case 'p':
      options.path = value;
      break;
    case 'l':
      options.logFile = value;
      break;
    case 'f':
      options.pidFile = value;
      break;
    case 't':
      options.stateDirectory = value;
      break;
    case 'v':
      options.verbose = true;
      break;
    case 'd':
      options.daemonize = true;
      break;
    case 'r':
      options.retryPath = true;
      break;
    case 'b':
      if (value === 'help' || value === '?') options.action = 'listCommands';
      else options.blocked.push(...value.split(','));
      break;
    case 'a':
      if (value === 'help' || value === '?') options.action = 'listCommands';
      else options.allowed = [...(options.allowed ?? []), ...value.split(',')];
      break;
    case 'F':
      return refuseHooks();
    default:
      applyOwnFlag(options, flag, value);
  }
}

function applyOwnFlag(options: Options, flag: string, value: string): void {
  switch (flag) {
    case 'V':
      options.action = 'version';
      break;
    case 'h':
      options.action = 'help';
      break;
    case 'D':
      options.action = 'dumpConfig';
      break;
    case 'once':
      options.action = 'once';
      break;
    case 'force':
      options.force = true;
      break;
    case 'watchdog':
      options.watchdogSeconds = toWatchdogSeconds(value);
      break;
    case 'splay':
      options.splaySeconds = parseDuration(value) ?? badValue('--splay', value, 'seconds, or 30m, or 3h');
      break;
    case 'minimum':
      options.minimumBytes = toWhole(value) ?? badValue('--minimum', value, 'a number of bytes');
      break;
    default:
      throw unknownOption();
  }
}

function toWhole(value: string): number | undefined {
  const number = value === '' ? Number.NaN : Number(value);
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

export function listCommandNames(): string {
  return commandTable.map((command) => `${command.name}\n`).join('');
}
