import { parse as parseJson } from 'lossless-json';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import * as z from 'zod/mini';

/** libvirt itself refuses more than 10 MiB in a line and fails a call over 4 MiB (facts: src/qemu/qemu_agent.c). */
const maxAnswerChars = 4 * 1024 * 1024;
const maxDepth = 32;

/** Depth of nesting outside of strings, without a parser: a parser that recurses must not see a hostile depth at all. */
export function nestingDepth(json: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < json.length; index += 1) {
    const char = json[index];
    if (inString) {
      if (char === '\\') index += 1;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') deepest = Math.max(deepest, (depth += 1));
    else if (char === '}' || char === ']') depth -= 1;
  }
  return deepest;
}

/** Integers keep every bit: a number where a double holds it exactly, else a bigint. */
function exactNumber(token: string): number | bigint {
  if (!/^-?\d+$/.test(token)) return Number(token);
  const value = Number(token);
  return Number.isSafeInteger(value) ? value : BigInt(token);
}

/**
 * Reads what `virsh qemu-agent-command` printed: `{"return": …}`.
 * @throws AppError `agent-protocol` for anything that the schema does not allow; the guest's bytes are not in the message.
 */
export function parseAnswer<T extends z.ZodMiniType>(command: string, text: string, schema: T): z.infer<T> {
  const refuse = (why: string, cause?: unknown): AppError =>
    new AppError('agent-protocol', `the guest agent's answer to ${command} is not valid: ${why}`, { cause, context: { command } });
  if (text.length > maxAnswerChars) throw refuse(`longer than ${maxAnswerChars} characters`);
  if (nestingDepth(text) > maxDepth) throw refuse(`nested deeper than ${maxDepth}`);
  let value: unknown;
  try {
    value = parseJson(text, undefined, { parseNumber: exactNumber });
  } catch (cause) {
    throw refuse('not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('return' in value)) throw refuse('no "return" in it');
  const answer = schema.safeParse(value.return);
  if (!answer.success) {
    const issue = answer.error.issues[0];
    throw refuse(cleanText(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'wrong shape'}`, 200), answer.error);
  }
  return answer.data;
}
