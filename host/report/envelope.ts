import type { CommandContext } from '../commands/context.ts';

/** What every verb's JSON has in common. Bytes are integers, unknown is null and never 0. */
export interface Envelope {
  readonly schemaVersion: 1;
  readonly command: string;
  readonly uri: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly exitStatus: number;
  readonly domains: readonly unknown[];
}

/** Prints the envelope as one JSON document on stdout. */
export function printEnvelope(
  context: Pick<CommandContext, 'out' | 'uri'>,
  command: string,
  startedAt: Date,
  exitStatus: number,
  domains: readonly unknown[],
  extra: Readonly<Record<string, unknown>> = {},
): void {
  const envelope: Envelope = {
    schemaVersion: 1,
    command,
    uri: context.uri,
    startedAt: startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    exitStatus,
    domains,
  };
  context.out(`${JSON.stringify({ ...envelope, ...extra }, null, 2)}\n`);
}
