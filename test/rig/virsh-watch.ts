import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Which guests are told to trim at this moment, seen from outside: by the virsh processes of the machine that carry the command. */
async function trimsNow(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const match = /qemu-agent-command ([0-9a-f-]{36}) .*guest-fstrim/.exec(line);
    if (match?.[1] !== undefined) found.push(match[1]);
  }
  return found;
}

/** Watches until it is told to stop; remembers the most at once per group, and in all. */
export class VirshWatch {
  readonly most = new Map<string, number>();
  readonly seen = new Set<string>();
  samples = 0;
  readonly #groupOf: (uuid: string) => string | undefined;
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(groupOf: (uuid: string) => string | undefined) {
    this.#groupOf = groupOf;
    this.#done = this.#watch();
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const counts = new Map<string, number>();
      for (const uuid of new Set(await trimsNow())) {
        const group = this.#groupOf(uuid);
        if (group === undefined) continue;
        this.seen.add(uuid);
        counts.set(group, (counts.get(group) ?? 0) + 1);
      }
      for (const [group, count] of counts) this.most.set(group, Math.max(this.most.get(group) ?? 0, count));
      this.samples += 1;
      await sleep(5);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }
}

/** Processes of the machine that were started with this state directory. */
export async function processesOf(stateDirectory: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.includes(`VIRT_TRIM_STATE_DIR=${stateDirectory}`)) found.push(pid);
  }
  return found;
}
