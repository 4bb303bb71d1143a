import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod/mini';
import type { AgentClient } from '../agent/client.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { readInGuestResult, type InGuestResult } from './in-guest-result.ts';

const execAnswer = z.object({ pid: z.union([z.bigint(), z.int()]) });
const execStatus = z.object({
  exited: z.boolean(),
  exitcode: z.optional(z.int()),
  'out-data': z.optional(z.string().check(z.maxLength(4 * 1024 * 1024))),
});

/** virsh takes a command as one argument of at most 128 KiB; base64 makes 4 out of 3. */
const chunkBytes = 60 * 1024;
const callSeconds = 10;
const pollMs = 500;

async function exec(client: AgentClient, uuid: string, script: string, input: Buffer | null, signal: AbortSignal): Promise<string> {
  const { pid } = await client.call(
    uuid,
    'guest-exec',
    {
      path: '/bin/sh',
      arg: ['-c', script],
      'capture-output': true,
      ...(input === null ? {} : { 'input-data': input.toString('base64') }),
    },
    execAnswer,
    { timeoutSeconds: callSeconds, signal },
  );
  for (let polls = 0; polls < 120; polls += 1) {
    const status = await client.call(uuid, 'guest-exec-status', { pid: Number(pid) }, execStatus, { timeoutSeconds: callSeconds, signal });
    if (status.exited) {
      if (status.exitcode !== 0) throw new AppError('tool-failed', `a command in the guest ended with ${status.exitcode ?? 'a signal'}`);
      return Buffer.from(status['out-data'] ?? '', 'base64').toString();
    }
    await sleep(pollMs, undefined, { signal });
  }
  throw new AppError('tool-timeout', 'a command in the guest did not end');
}

/**
 * Runs a program in the guest through the agent that is there. The agent is restarted by what it runs, so the program goes on by itself
 * (in a unit of its own where there is systemd: stopping a service ends all that it has started) and leaves its words in a file.
 * @param id 12 hexadecimal digits. @throws AppError `tool-failed`, `tool-timeout`, and what AgentClient throws.
 */
export async function runThroughAgent(
  client: AgentClient,
  uuid: string,
  program: string,
  id: string,
  options: { readonly timeoutSeconds: number; readonly signal: AbortSignal },
): Promise<InGuestResult> {
  const file = `/tmp/virt-trim-exec-${id}`;
  const content = Buffer.from(program);
  await exec(client, uuid, `umask 077; rm -f ${file} ${file}.out; : >${file}`, null, options.signal);
  for (let at = 0; at < content.length; at += chunkBytes)
    await exec(client, uuid, `cat >>${file}`, content.subarray(at, at + chunkBytes), options.signal);
  const work = `sh ${file} >${file}.out 2>&1 </dev/null; echo virt-trim-ended >>${file}.out`;
  const start =
    `if [ -d /run/systemd/system ]; then systemd-run --quiet --collect sh -c '${work}'; ` +
    `else setsid sh -c '${work}' >/dev/null 2>&1 & fi`;
  await exec(client, uuid, start, null, options.signal);
  const output = await readUntilEnded(client, uuid, `${file}.out`, options);
  await exec(client, uuid, `rm -f ${file} ${file}.out`, null, options.signal);
  return readInGuestResult(output);
}

async function readUntilEnded(
  client: AgentClient,
  uuid: string,
  file: string,
  options: { readonly timeoutSeconds: number; readonly signal: AbortSignal },
): Promise<string> {
  const deadline = performance.now() + options.timeoutSeconds * 1000;
  while (performance.now() < deadline) {
    try {
      const output = await exec(client, uuid, `tail -c 8000 ${file}`, null, options.signal);
      if (/^virt-trim-ended$/m.test(output)) return output;
    } catch (thrown) {
      // While the agent is replaced nobody answers.
      if (
        !['agent-disconnected', 'agent-died', 'agent-silent', 'agent-protocol', 'agent-lock', 'tool-failed', 'agent-error'].includes(
          toAppError(thrown).code,
        )
      )
        throw thrown;
    }
    await sleep(1000, undefined, { signal: options.signal });
  }
  throw new AppError('tool-timeout', 'the upgrade did not end in its time; the guest may still be at it');
}
