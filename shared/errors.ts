/**
 * Every way in which virt-trim can fail. A closed set: callers switch on it, `docs/messages.md` explains each, and nothing
 * outside `host/libvirt/classify.ts` looks at another tool's words.
 */
export const errorCodes = [
  'usage', // bad command line
  'config', // bad configuration file or policy
  'refused', // we could, but must not (exit 3)
  'busy', // somebody else holds it; try later (exit 75)
  'virsh-missing',
  'tool-missing', // another program that a verb needs
  'tool-failed', // another program failed with words we do not know
  'tool-timeout', // another program did not end in its time and was killed
  'connect-failed', // libvirt's daemon cannot be reached
  'connect-timeout', // nor did it answer
  'connection-lost', // it died while we talked
  'permission-denied',
  'domain-unknown',
  'domain-ambiguous',
  'domain-not-running', // off or paused
  'no-channel', // the XML has no agent channel
  'agent-disconnected', // channel there, nobody opened it in the guest
  'agent-silent', // connected, but no answer in time
  'agent-lock', // another agent command holds the domain's agent lock
  'agent-died', // the port closed while a command ran
  'agent-protocol', // an answer that is not what the protocol allows
  'agent-frozen', // refused by the agent because it is frozen
  'agent-blocked', // the guest's administrator blocked the command
  'agent-unsupported', // the agent does not know the command
  'agent-error', // any other error reply
  'job-active', // block job, backup, save or migration on the domain
  'domain-lock', // libvirt's job lock on the domain could not be had
  'state-directory', // ours: cannot be read or written, wrong owner or mode
  'io',
  'interrupted',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export interface ErrorDetails {
  readonly cause?: unknown;
  /** Facts for the reader and for JSON: what, where, which value. Never secrets. */
  readonly context?: Readonly<Record<string, string | number | boolean | null>>;
}

/** The one error class. `message` is a sentence for the administrator: what, where and, where we know it, what to do. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly context: NonNullable<ErrorDetails['context']>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : {});
    this.code = code;
    this.context = details.context ?? {};
  }
}

/** Wraps whatever was thrown, so that a cause is never lost. */
export function toAppError(thrown: unknown, code: ErrorCode = 'internal'): AppError {
  if (thrown instanceof AppError) return thrown;
  return new AppError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}
