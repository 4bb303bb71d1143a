import path from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import type { CommandContext } from '../commands/context.ts';
import { statusOfOutcomes } from '../commands/exit-status.ts';
import { Connection } from '../libvirt/connection.ts';
import { resolveVolumes } from '../libvirt/volumes.ts';
import { chooseDomains, isReadable, type Chosen } from '../policy/choose.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { stateDirectory } from '../state/directory.ts';
import { readHistory } from '../state/history.ts';
import { LayoutMeasurer } from './commitment.ts';
import { growthPerDay } from './forecast.ts';
import { askFilesystems, sizeDomain, sizeFile, type SizeOptions } from './gather.ts';
import { overflowLines, sizeColumns, sizeRows, storageColumns, storageRow } from './rows.ts';
import type { DomainSizes, StorageSizes } from './schema.ts';
import { sumStorage } from './storage.ts';
import { sumFilesystems, type SizedGuest } from './storages.ts';
import { readThinPools } from './thin-pools.ts';

export interface SizesRequest {
  /** Domains, selectors, and image files (anything with a slash). */
  readonly words: readonly string[];
  /** Of image files. */
  readonly format: string | null;
  readonly askGuests: boolean;
  readonly sparsify: boolean;
}

export interface SizesResult {
  readonly domains: readonly DomainSizes[];
  readonly storages: readonly StorageSizes[];
}

/** Gathers all sizes. @throws AppError what Connection throws, `usage`. */
export async function gatherSizes(
  connection: Connection,
  request: SizesRequest,
  options: { readonly stateDirectory: string; readonly signal?: AbortSignal },
): Promise<SizesResult> {
  const files = request.words.filter((word) => word.includes('/'));
  const names = request.words.filter((word) => !word.includes('/'));
  const chosen = names.length === 0 && files.length > 0 ? [] : await chooseDomains(connection, names, options);
  const readable = chosen.filter(isReadable);
  const { isLocal } = connection.uri;
  const volumes = await resolveVolumes(
    connection,
    readable.flatMap((domain) => domain.disks),
    options,
  );
  const sizing: SizeOptions = {
    isLocal,
    volumes,
    measurer: new LayoutMeasurer(options),
    sparsify: request.sparsify,
    signal: options.signal,
  };
  const usage = request.askGuests ? await askFilesystems(connection, readable, options) : new Map<string, never>();
  const guests: SizedGuest[] = [];
  const domains: DomainSizes[] = [];
  for (const domain of chosen) {
    if (!isReadable(domain)) {
      domains.push(failed(domain));
      continue;
    }
    const images = await sizeDomain(domain, usage.get(domain.uuid) ?? null, sizing);
    guests.push({ name: domain.name, uuid: domain.uuid, images });
    domains.push({
      name: domain.name,
      uuid: domain.uuid,
      status: 'ok',
      code: null,
      reason: null,
      disks: images.map((image) => image.sizes),
    });
  }
  for (const file of files) {
    const image = await sizeFile(path.resolve(file), requiredFormat(file, request.format), { ...sizing, isLocal: true });
    guests.push({ name: file, uuid: null, images: [image] });
    const missing = image.file === null && image.sizes.lengthBytes === null;
    const [code, reason] = missing ? ['io', image.sizes.reason] : [null, null];
    domains.push({ name: file, uuid: null, status: missing ? 'failed' : 'ok', code, reason, disks: [image.sizes] });
  }
  const growth = growthPerDay(await readHistory(options.stateDirectory));
  const now = new Date();
  const pools = isLocal ? await readThinPools(deviceOwners(guests), options.signal) : [];
  const ofPools = pools.map((pool) => sumStorage(pool.storage, pool.images, growth, now));
  return { domains, storages: [...(await sumFilesystems(guests, growth, now)), ...ofPools] };
}

function deviceOwners(guests: readonly SizedGuest[]): Map<string, SizedGuest> {
  return new Map(
    guests.flatMap((guest) => guest.images.flatMap(({ blockDevice }) => (blockDevice === null ? [] : [[blockDevice, guest]]))),
  );
}

/** A guest decides what stands at the beginning of its raw disk, so an image's own word for its format is not taken. */
function requiredFormat(file: string, format: string | null): string {
  if (format !== null) return format;
  throw new AppError('usage', `${file}: name its format: --format raw or --format qcow2 (what the file says of itself is not trusted)`);
}

function failed(chosen: Extract<Chosen, { error: AppError }>): DomainSizes {
  return { name: chosen.name, uuid: chosen.uuid, status: 'failed', code: chosen.error.code, reason: chosen.error.message, disks: [] };
}

/** `virt-trim sizes` */
export async function runSizes(context: CommandContext, request: SizesRequest): Promise<number> {
  const startedAt = new Date();
  const connection = new Connection(context.uri);
  const options = { stateDirectory: stateDirectory(context.env), signal: context.signal };
  const { domains, storages } = await gatherSizes(connection, request, options);
  const status = statusOfOutcomes(domains.map((domain) => (domain.status === 'ok' ? 'ok' : 'failed')));
  if (context.json) {
    printEnvelope({ ...context, uri: connection.uri.text }, 'sizes', startedAt, status, domains, { storages });
    return status;
  }
  context.out(`${renderTable(sizeColumns, domains.flatMap(sizeRows))}\n`);
  if (storages.length > 0) context.out(`\n${renderTable(storageColumns, storages.map(storageRow))}\n`);
  for (const line of storages.flatMap(overflowLines)) context.say(line);
  for (const domain of domains) {
    if (domain.reason !== null) context.say(`${cleanText(domain.name)}: ${domain.reason}`);
    for (const disk of domain.disks)
      if (disk.reason !== null && disk.layer === 0 && domain.reason === null)
        context.say(`${cleanText(domain.name)} ${disk.target}: ${cleanText(disk.reason)}`);
  }
  return status;
}
