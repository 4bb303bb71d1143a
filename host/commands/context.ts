import type { Logger } from 'pino';

/** Exit statuses, as docs/exit-status.md lists them (modelled on fstrim(8): 32 all failed, 64 some failed). */
export const exitStatus = {
  done: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  allFailed: 32,
  someFailed: 64,
  maybeFrozen: 70,
  busy: 75,
  interrupted: 130,
  terminated: 143,
} as const;

/** What a command gets from main.ts. It touches neither `process` nor the console itself. */
export interface CommandContext {
  /** `-c`; '' for libvirt's default. */
  readonly uri: string;
  /** Every `-c`, for commands that serve several hypervisors. */
  readonly uris: readonly string[];
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: number;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  /** Fires on SIGINT, SIGTERM, SIGHUP. */
  readonly signal: AbortSignal;
  /** From now on SIGHUP calls this instead; @returns what puts it back. */
  readonly onHangup: (call: () => void) => () => void;
  /** Data: the result, and nothing else. */
  readonly out: (text: string) => void;
  /** Diagnostics for a person. Silent under -q. */
  readonly say: (text: string) => void;
  /** Asks a person for yes or no on the terminal; null where there is none. */
  readonly ask: (question: string) => Promise<boolean | null>;
  readonly stdoutIsTerminal: boolean;
  /** Where progress is drawn: stderr if it is a terminal and neither -q nor --json was given; else null. */
  readonly progressStream: NodeJS.WriteStream | null;
  readonly color: boolean;
  /** Columns of the terminal on stdout, or 100. */
  readonly width: number;
}

/** What a command's definition hands its work to: builds the context, runs, turns errors into an exit status. */
export type Perform = (work: (context: CommandContext) => Promise<number>) => Promise<void>;
