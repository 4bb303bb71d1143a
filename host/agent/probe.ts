import type { Connection } from '../libvirt/connection.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { parseAnswer } from './parse-answer.ts';
import type { AgentClient } from './client.ts';
import { freezeStatus, fsInfo, osInfo, type FreezeStatus, type FsInfo, type GuestInfo, type OsInfo } from './schema.ts';
import type { KnownAgent } from './known-agents.ts';
import { watchdogCommand } from '../../shared/qga/watchdog.ts';

/** What an agent told about itself and its guest. What it would not tell is null. */
export interface AgentFacts {
  readonly info: GuestInfo;
  readonly kind: KnownAgent['kind'];
  readonly os: OsInfo | null;
  readonly osText: string | null;
  readonly isWindows: boolean;
  readonly frozen: FreezeStatus | null;
  readonly filesystems: FsInfo | null;
}

export type ProbeResult = { readonly ok: true; readonly facts: AgentFacts } | { readonly ok: false; readonly error: AppError };

export function agentKind(info: GuestInfo): KnownAgent['kind'] {
  if (info.supported_commands.some((command) => command.name === watchdogCommand)) return 'virt-trim';
  return info.supported_commands.some((command) => command.name === 'guest-fsfreeze-freeze') ? 'qemu-ga' : 'unknown';
}

/** Whether the agent offers the command and its administrator has not blocked it. */
export function offers(info: GuestInfo, command: string): boolean {
  return info.supported_commands.some((entry) => entry.name === command && entry.enabled);
}

/**
 * Asks an agent who it is, and then in one virsh process about its system and filesystems. A silent agent costs one timeout, not four.
 * @param timeoutSeconds for each question.
 */
export async function probeAgent(
  connection: Connection,
  client: AgentClient,
  uuid: string,
  options: { readonly timeoutSeconds: number; readonly signal?: AbortSignal | undefined },
): Promise<ProbeResult> {
  try {
    const info = await client.info(uuid, options);
    const wanted = ['guest-fsfreeze-status', 'guest-get-osinfo', 'guest-get-fsinfo'].filter((command) => offers(info, command));
    const answers = await connection.runAll(
      wanted.map((command) => [
        'qemu-agent-command',
        uuid,
        JSON.stringify({ execute: command }),
        '--timeout',
        String(options.timeoutSeconds),
      ]),
      { timeoutMs: wanted.length * (options.timeoutSeconds + 5) * 1000 + 35_000, signal: options.signal },
    );
    const read = <T>(command: string, parse: (text: string) => T): T | null => {
      const answer = answers[wanted.indexOf(command)];
      return answer?.ok === true ? parse(answer.stdout) : null;
    };
    const os = read('guest-get-osinfo', (text) => parseAnswer('guest-get-osinfo', text, osInfo));
    return {
      ok: true,
      facts: {
        info,
        kind: agentKind(info),
        os,
        osText: os === null ? null : cleanText(os['pretty-name'] ?? os.name ?? os.id ?? '', 60) || null,
        isWindows: os?.id === 'mswindows',
        frozen: read('guest-fsfreeze-status', (text) => parseAnswer('guest-fsfreeze-status', text, freezeStatus)),
        filesystems: read('guest-get-fsinfo', (text) => parseAnswer('guest-get-fsinfo', text, fsInfo)),
      },
    };
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
    return { ok: false, error };
  }
}
