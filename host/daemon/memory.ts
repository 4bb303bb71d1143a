import { readFile } from 'node:fs/promises';
import * as z from 'zod/mini';
import { AppError } from '../../shared/errors.ts';
import { writeDurably } from '../state/durable.ts';

const record = z.object({
  /** All occurrences up to this time are served; milliseconds since 1970. */
  covered: z.number(),
  /** The settings for which that holds. */
  plan: z.string(),
  /** The last day on which the domain was there; milliseconds since 1970. */
  seen: z.number(),
  /** Hints that were given once, and are not given again. */
  told: z.array(z.string()),
});
type ServiceRecord = z.infer<typeof record>;
const file = z.object({ v: z.literal(1), domains: z.record(z.string(), record) });

const dayMs = 86_400_000;
const forgetAfterMs = 90 * dayMs;

/** What must survive a restart: which domain was served until when. One file, replaced durably; writes that come close together are one. */
export class ServiceMemory {
  readonly #path: string | null;
  readonly #records: Map<string, ServiceRecord>;
  #changed = false;
  #writing: Promise<void> | undefined;
  #queued: Promise<void> | undefined;

  /** @param path null keeps it in memory only. */
  constructor(path: string | null, records: Map<string, ServiceRecord> = new Map()) {
    this.#path = path;
    this.#records = records;
  }

  /** Reads the file; a missing or damaged one is an empty memory (then nothing counts as missed). @throws AppError `state-directory`. */
  static async open(path: string): Promise<ServiceMemory> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new ServiceMemory(path);
      throw new AppError('state-directory', `${path}: cannot be read: ${(cause as Error).message}`, { cause });
    }
    const parsed = file.safeParse(parseJson(text));
    return new ServiceMemory(path, new Map(parsed.success ? Object.entries(parsed.data.domains) : []));
  }

  get size(): number {
    return this.#records.size;
  }

  covered(key: string): number | null {
    return this.#records.get(key)?.covered ?? null;
  }

  fingerprint(key: string): string | null {
    return this.#records.get(key)?.plan ?? null;
  }

  cover(key: string, until: number, plan: string): void {
    const known = this.#records.get(key);
    this.#changed = true;
    this.#records.set(key, { covered: until, plan, seen: known?.seen ?? until, told: known?.told ?? [] });
  }

  /** The domain is there. Those that were not for three months are forgotten. */
  see(key: string, now: number): void {
    const known = this.#records.get(key);
    if (known === undefined || now - known.seen < dayMs) return;
    known.seen = now;
    this.#changed = true;
  }

  forgetGone(now: number): void {
    for (const [key, { seen }] of this.#records) if (now - seen > forgetAfterMs) this.#changed = this.#records.delete(key);
  }

  wasTold(key: string, hint: string): boolean {
    return this.#records.get(key)?.told.includes(hint) === true;
  }

  /** True the first time only: for what is said once for each domain. */
  tellOnce(key: string, hint: string): boolean {
    const known = this.#records.get(key);
    if (known === undefined || known.told.includes(hint)) return false;
    known.told.push(hint);
    this.#changed = true;
    return true;
  }

  /** Resolves when what is known now is on disk. @throws AppError `state-directory`. */
  async save(): Promise<void> {
    if (this.#path === null || (!this.#changed && this.#queued === undefined)) return this.#writing;
    // A write in progress may have begun before our change: the one behind it has it, and serves all who come meanwhile.
    this.#queued ??= (async () => {
      await this.#writing?.catch(() => undefined);
      this.#queued = undefined;
      this.#changed = false;
      this.#writing = writeDurably(this.#path ?? '', JSON.stringify({ v: 1, domains: Object.fromEntries(this.#records) }));
      await this.#writing;
    })();
    await this.#queued;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a damaged file is an empty memory
  }
}
