import { runTool } from '../process.ts';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { readInGuestResult, type InGuestResult } from './in-guest-result.ts';
import { selfExtracting, type Payload } from './payload.ts';

/** Where ssh goes; all else is the user's own ssh configuration, keys and agent. */
export interface SshTarget {
  /** `[user@]host[:port]`, checked. */
  readonly destination: string;
  readonly configFile: string | null;
}

const runMs = 1_800_000;

/** A domain's name becomes part of a host name only where it is one already. @throws AppError `usage`. */
export function destinationFor(pattern: string, domainName: string): string {
  if (!pattern.includes('{name}')) return pattern;
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/.test(domainName))
    throw new AppError('usage', `--ssh '${pattern}': the domain's name '${cleanText(domainName)}' is no host name`);
  return pattern.replaceAll('{name}', domainName);
}

/**
 * ssh's argument list: never asks (no password can be typed, so none can leak), never takes an unknown host key, and everything behind
 * `--` is a destination or a constant of ours (ssh(1), ssh_config(5)).
 */
export function sshArguments(target: SshTarget): string[] {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(target.destination);
  const host = (match?.[1] ?? '').replace(/^(.*@)?\[(.*)\]$/, '$1$2');
  const settings = ['BatchMode=yes', 'StrictHostKeyChecking=yes', 'ConnectTimeout=15', 'ServerAliveInterval=15', 'ServerAliveCountMax=4'];
  return [
    ...(target.configFile === null ? [] : ['-F', target.configFile]),
    '-T',
    ...settings.flatMap((setting) => ['-o', setting]),
    ...(match?.[2] === undefined ? [] : ['-p', match[2]]),
    '--',
    host,
    // The whole program comes on stdin; sudo never asks.
    'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi',
  ];
}

const explanations: readonly (readonly [RegExp, string])[] = [
  [
    /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/,
    'its host key is not in known_hosts, or has changed; connect once by hand and check the key',
  ],
  [/Permission denied \(/, 'none of your keys is accepted there; try: ssh-copy-id'],
  [/Could not resolve hostname/, 'the host name is not known'],
  [/Connection refused/, 'nothing listens on its ssh port'],
  [/timed out|No route to host|Network is unreachable|Connection reset|closed by remote host/, 'it cannot be reached over the network'],
];

/** An error of ours for ssh's own status 255; its words are ssh's, not the guest's. */
export function sshError(destination: string, stderr: string): AppError {
  const words = cleanText(
    stderr
      .trim()
      .split('\n')
      .filter((line) => !/^(?:Warning|\*\*|@|\s*$)/.test(line))
      .slice(-2)
      .join(' / '),
    300,
  );
  const why = explanations.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'ssh failed';
  return new AppError('tool-failed', `ssh to ${destination}: ${why} [ssh: ${words}]`, { context: { destination } });
}

/** Runs in-guest.sh over ssh. @throws AppError why it could not; the guest undoes by itself what it had begun. */
export async function runOverSsh(
  program: string,
  target: SshTarget,
  payload: Payload,
  run: { readonly id: string; readonly args: readonly string[]; readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number },
): Promise<InGuestResult> {
  const result = await runTool(program, sshArguments(target), {
    timeoutMs: run.timeoutMs ?? runMs,
    input: selfExtracting(payload, run.id, run.args),
    maxBytes: 1024 * 1024,
    signal: run.signal,
    env: { LC_ALL: 'C' },
  });
  if (result.timedOut) throw new AppError('tool-timeout', `ssh to ${target.destination}: the install did not end in its time`);
  if (result.exitCode === 255) throw sshError(target.destination, result.stderr);
  if (/^sudo: /m.test(result.stderr) && !result.stdout.includes('virt-trim-result:'))
    throw new AppError(
      'permission-denied',
      `ssh to ${target.destination}: sudo there asks for a password; allow it without (NOPASSWD), or connect as root`,
    );
  return readInGuestResult(`${result.stderr}\n${result.stdout}`);
}
