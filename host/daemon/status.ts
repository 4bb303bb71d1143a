import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod/mini';
import { writeDurably } from '../state/durable.ts';

/** What a running daemon is doing, for `virt-trim schedule` and whoever else may read its state directory. */
const daemonStatus = z.object({
  v: z.literal(1),
  pid: z.int(),
  /** ISO 8601. */
  at: z.string(),
  hypervisors: z.array(z.object({ uri: z.string(), domains: z.int(), error: z.nullable(z.string()) })),
  running: z.array(z.object({ uuid: z.string(), domain: z.string() })),
  waiting: z.array(z.object({ uuid: z.string(), domain: z.string(), for: z.string() })),
  /** Next attempts that differ from the timetable: catch-ups and retries. */
  planned: z.array(z.object({ uuid: z.string(), domain: z.string(), at: z.string(), why: z.string() })),
  /** Percent; null where the kernel does not tell. */
  ioPressure: z.nullable(z.number()),
  counts: z.object({ ok: z.int(), skipped: z.int(), failed: z.int(), unverified: z.int(), reclaimedBytes: z.int() }),
});
export type DaemonStatus = z.infer<typeof daemonStatus>;

const fileName = 'daemon-status.json';

export async function writeStatus(stateDirectory: string, status: DaemonStatus): Promise<void> {
  await writeDurably(path.join(stateDirectory, fileName), JSON.stringify(status));
}

/** The status of the daemon that runs; null where none does. */
export async function readStatus(stateDirectory: string): Promise<DaemonStatus | null> {
  const text = await readFile(path.join(stateDirectory, fileName), 'utf8').catch(() => '');
  try {
    const parsed = daemonStatus.safeParse(JSON.parse(text));
    return parsed.success && isAlive(parsed.data.pid) ? parsed.data : null;
  } catch {
    return null; // not there, or torn: nothing is known
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
