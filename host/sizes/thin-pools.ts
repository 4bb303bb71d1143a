import * as z from 'zod/mini';
import { toAppError } from '../../shared/errors.ts';
import { runTool } from '../process.ts';
import type { PlacedImage, Storage } from './storage.ts';

const number = z.pipe(
  z.string(),
  z.transform((text: string) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : null)),
);
const volume = z.object({
  vg_name: z.string(),
  lv_name: z.string(),
  lv_path: z.string(),
  pool_lv: z.string(),
  lv_size: number,
  data_percent: number,
  segtype: z.string(),
});
const answer = z.object({ report: z.array(z.object({ lv: z.array(volume) })) });

/** A thin pool of LVM and all the volumes in it, whoever uses them. */
export interface ThinPool {
  readonly storage: Storage;
  readonly images: readonly PlacedImage[];
}

const fields = 'vg_name,lv_name,lv_path,pool_lv,lv_size,data_percent,segtype';

function part(size: number | null, percent: number | null): number {
  return Math.round(((size ?? 0) * (percent ?? 0)) / 100);
}

/**
 * Reads `lvs --reportformat json --units b --nosuffix -o …` (lvmreport(7)). Every thin volume counts with its whole size: a pool that
 * is full stops all of them, the guests' and the others'.
 * @param guests by device path, who uses it.
 */
export function parseThinPools(
  text: string,
  guests: ReadonlyMap<string, { readonly name: string; readonly uuid: string | null }>,
): ThinPool[] {
  const parsed = answer.safeParse(parseJson(text));
  if (!parsed.success) return [];
  const volumes = parsed.data.report.flatMap((report) => report.lv);
  return volumes
    .filter((pool) => pool.segtype === 'thin-pool')
    .map((pool) => {
      const inside = volumes.filter((one) => one.segtype === 'thin' && one.vg_name === pool.vg_name && one.pool_lv === pool.lv_name);
      return {
        storage: {
          kind: 'thin-pool' as const,
          name: `${pool.vg_name}/${pool.lv_name}`,
          type: 'lvm-thin',
          totalBytes: pool.lv_size,
          freeBytes: pool.lv_size === null ? null : pool.lv_size - part(pool.lv_size, pool.data_percent),
        },
        images: inside.map((one) => {
          const guest = guests.get(one.lv_path) ?? guests.get(`/dev/mapper/${mapperName(one.vg_name)}-${mapperName(one.lv_name)}`);
          return {
            identity: one.lv_path,
            guest: guest?.name ?? `${one.lv_path} (no guest here)`,
            guestUuid: guest?.uuid ?? null,
            allocationBytes: part(one.lv_size, one.data_percent),
            commitmentBytes: one.lv_size,
          };
        }),
      };
    });
}

/** The device mapper doubles the dashes of a name. */
function mapperName(name: string): string {
  return name.replaceAll('-', '--');
}

/** The thin pools that hold volumes of these guests. One process, none where no guest has a block device; without LVM there are none. */
export async function readThinPools(
  guests: ReadonlyMap<string, { readonly name: string; readonly uuid: string | null }>,
  signal: AbortSignal | undefined,
): Promise<ThinPool[]> {
  if (guests.size === 0) return [];
  const args = ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', fields];
  try {
    const result = await runTool('lvs', args, { timeoutMs: 10_000, signal, env: { LC_ALL: 'C' } });
    const pools = result.exitCode === 0 ? parseThinPools(result.stdout, guests) : [];
    return pools.filter((pool) => pool.images.some((image) => image.guestUuid !== null));
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'tool-missing') throw error;
    return [];
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // judged by the schema
  }
}
