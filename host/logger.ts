import { pino, type DestinationStream, type Logger } from 'pino';

/** sd-daemon(3): a leading `<N>` is the line's syslog priority; journald strips it. */
const journalPriorities: Readonly<Record<number, string>> = { 10: '<7>', 20: '<7>', 30: '<6>', 40: '<4>', 50: '<3>', 60: '<2>' };
const names: Readonly<Record<number, string>> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warning', 50: 'error', 60: 'fatal' };

/** pino's lines, for a person or the journal: `warning: text key=value …` instead of JSON. */
export function formatLogLine(line: string, journal: boolean): string {
  const { level, msg, time: _time, ...facts } = JSON.parse(line) as { level: number; msg?: string; time: number } & Record<string, unknown>;
  const pairs = Object.entries(facts).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const text = [msg ?? '', ...pairs].join(' ').replaceAll('\n', ' ');
  return `${journal ? (journalPriorities[level] ?? '') : `${names[level] ?? level}: `}${text}\n`;
}

/**
 * The logger of a run, on stderr, synchronous so that nothing is lost when we are killed. Warnings by default, `-v` info, `-vv` debug, `-q` errors.
 * With VIRT_TRIM_LOG=json the lines are pino's own; with `prefix`, or where stderr is the journal, each has its syslog priority before it.
 */
export function createLogger(options: { quiet: boolean; verbose: number; env: NodeJS.ProcessEnv; write: (text: string) => void }): Logger {
  const level = options.quiet ? 'error' : (['warn', 'info', 'debug', 'trace'][options.verbose] ?? 'trace');
  // `prefix`: for `virt-trim daemon 2>&1 | logger --prio-prefix`, where syslog has no journal before it.
  const journal = options.env['JOURNAL_STREAM'] !== undefined || options.env['VIRT_TRIM_LOG'] === 'prefix';
  const raw = options.env['VIRT_TRIM_LOG'] === 'json';
  const destination: DestinationStream = { write: (line) => options.write(raw ? line : formatLogLine(line, journal)) };
  return pino({ level, base: null }, destination);
}
