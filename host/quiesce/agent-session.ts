import { AppError } from '../../shared/errors.ts';
import { parseAnswer } from '../agent/parse-answer.ts';
import type * as z from 'zod/mini';
import type { VirshSession } from '../libvirt/session.ts';

/** Beyond libvirt's own timeout: its guest-sync has one too, and virsh needs a moment. Not the 30 s for the agent lock: a window is shorter. */
const marginMs = 7000;

export interface AgentCall<T extends z.ZodMiniType> {
  readonly uuid: string;
  /** The wire name (QEMU, qga/qapi-schema.json). */
  readonly command: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly schema: T;
  /** libvirt's timeout, whole seconds. */
  readonly timeoutSeconds: number;
  /** How long we wait; default: libvirt's timeout and a margin. The session is unusable after it. */
  readonly waitMs?: number;
}

/**
 * One agent command over a session that is connected already.
 * @throws AppError as AgentClient does, and `connect-timeout`, `connection-lost`.
 */
export async function callAgent<T extends z.ZodMiniType>(session: VirshSession, call: AgentCall<T>): Promise<z.infer<T>> {
  const request = JSON.stringify(
    call.arguments === undefined ? { execute: call.command } : { execute: call.command, arguments: call.arguments },
  );
  const command = ['qemu-agent-command', call.uuid, request, '--timeout', String(call.timeoutSeconds)];
  const answer = await session.run(command, call.waitMs ?? call.timeoutSeconds * 1000 + marginMs);
  if (!answer.ok) throw answer.error;
  return parseAnswer(call.command, answer.stdout, call.schema);
}

/** The same, where an error is a result. */
export async function tryAgent<T extends z.ZodMiniType>(
  session: VirshSession,
  call: AgentCall<T>,
): Promise<{ ok: true; value: z.infer<T> } | { ok: false; error: AppError }> {
  try {
    return { ok: true, value: await callAgent(session, call) };
  } catch (error) {
    if (error instanceof AppError) return { ok: false, error };
    throw error;
  }
}
