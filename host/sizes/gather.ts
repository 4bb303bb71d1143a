import pLimit from 'p-limit';
import { toAppError } from '../../shared/errors.ts';
import { AgentClient, quickTimeoutSeconds } from '../agent/client.ts';
import type { FsInfo } from '../agent/schema.ts';
import type { Connection, RunOptions } from '../libvirt/connection.ts';
import type { DiskDescription, ImageLayer } from '../libvirt/domain-xml.ts';
import type { Domain } from '../libvirt/domains.ts';
import { measureImage } from '../libvirt/qemu-img.ts';
import { localPathOf } from '../libvirt/volumes.ts';
import { usedBytesPerDisk } from '../trim/guest-usage.ts';
import { measureDisk } from '../trim/measure.ts';
import { commitmentOf, type Commitment, type LayoutMeasurer } from './commitment.ts';
import { isUnreadableImage, readImage, type ImageFacts } from './image.ts';
import type { DiskSizes } from './schema.ts';

/** An image with its figures, and where it lies if that is a file of this host. */
export interface SizedImage {
  readonly sizes: DiskSizes;
  readonly file: { readonly path: string; readonly device: number; readonly inode: number } | null;
  /** The path of a block device of this host. */
  readonly blockDevice: string | null;
}

export interface SizeOptions {
  readonly isLocal: boolean;
  readonly volumes: ReadonlyMap<string, string>;
  readonly measurer: LayoutMeasurer;
  /** Read every image's map for the sparsify figure: one qemu-img each. */
  readonly sparsify: boolean;
  readonly signal?: AbortSignal | undefined;
}

const imagesAtOnce = 4;

/** Sizes of all layers of a domain's disks. An image that cannot be read is an entry with its reason. */
export async function sizeDomain(domain: Domain, filesystems: FsInfo | null, options: SizeOptions): Promise<SizedImage[]> {
  const disks = domain.disks.filter((disk) => disk.source !== null && (disk.device === 'disk' || disk.device === 'lun'));
  const used = usedBytesPerDisk(disks, filesystems);
  const limit = pLimit(imagesAtOnce);
  const sized = disks.map((disk) => [
    limit(async () => sizeActive(domain, disk, used.get(disk.target) ?? null, options)),
    ...disk.backing.map((layer, index) => limit(async () => sizeBelow(disk, layer, index + 1, options))),
  ]);
  return Promise.all(sized.flat());
}

async function sizeActive(domain: Domain, disk: DiskDescription, usedBytes: number | null, options: SizeOptions): Promise<SizedImage> {
  const stats = domain.stats?.blocks.find((block) => block.name === disk.target) ?? null;
  const path = options.isLocal ? localPathOf(disk, options.volumes) : null;
  const format = disk.format ?? 'raw';
  const image = path === null ? null : await readImage(path, format);
  const named = { target: disk.target, layer: 0, source: disk.source, format };
  const resolved = path !== null && disk.type === 'volume' ? { ...disk, type: 'file', source: path } : disk;
  const measured = await measureDisk(resolved, { isLocal: options.isLocal, stats, running: domain.id !== null });
  const allocationBytes = measured.bytes;
  const reclaimableByTrimBytes = usedBytes === null || allocationBytes === null ? null : Math.max(0, allocationBytes - usedBytes);
  if (image === null || isUnreadableImage(image)) {
    const reason = image === null ? (measured.reason ?? 'not a file of this host') : `${image.path} ${image.problem}`;
    const capacityBytes = stats?.capacity ?? null;
    const rest = { lengthBytes: null, commitmentBytes: null, unbounded: false, reclaimableBySparsifyBytes: null, reason };
    return { sizes: { ...named, capacityBytes, allocationBytes, reclaimableByTrimBytes, ...rest }, file: null, blockDevice: null };
  }
  const commitment = await safely(async () => commitmentOf(image, options.measurer));
  return {
    sizes: {
      ...named,
      capacityBytes: stats?.capacity ?? capacityOf(image),
      lengthBytes: image.lengthBytes,
      allocationBytes,
      commitmentBytes: commitment.bytes,
      unbounded: commitment.unbounded,
      reclaimableByTrimBytes,
      reclaimableBySparsifyBytes: options.sparsify ? await sparsifyGain(image, allocationBytes, domain.id !== null, options) : null,
      reason: commitment.reason ?? measured.reason,
    },
    file: image.kind === 'file' ? { path: image.path, device: image.device, inode: image.inode } : null,
    blockDevice: image.kind === 'block' ? image.path : null,
  };
}

/** What lies below an overlay is only read by this guest: it takes what it takes, and does not grow. */
async function sizeBelow(disk: DiskDescription, layer: ImageLayer, index: number, options: SizeOptions): Promise<SizedImage> {
  const path = options.isLocal ? localPathOf(layer, options.volumes) : null;
  const image = path === null ? null : await readImage(path, layer.format ?? 'raw');
  const facts = image === null || isUnreadableImage(image) ? null : image;
  const reason = image === null ? 'not a file of this host' : isUnreadableImage(image) ? `${image.path} ${image.problem}` : null;
  const sizes: DiskSizes = {
    target: disk.target,
    layer: index,
    source: layer.source,
    format: layer.format,
    capacityBytes: facts === null ? null : capacityOf(facts),
    lengthBytes: facts?.lengthBytes ?? null,
    allocationBytes: facts?.allocationBytes ?? null,
    commitmentBytes: facts?.allocationBytes ?? null,
    unbounded: false,
    reclaimableByTrimBytes: facts === null ? null : 0,
    reclaimableBySparsifyBytes: null,
    reason,
  };
  const file = facts?.kind === 'file' ? { path: facts.path, device: facts.device, inode: facts.inode } : null;
  return { sizes, file, blockDevice: facts?.kind === 'block' ? facts.path : null };
}

/** One image file that is named on the command line. */
export async function sizeFile(path: string, format: string, options: SizeOptions): Promise<SizedImage> {
  const disk = { target: '-', type: 'file', source: path, format, backing: [] as ImageLayer[] } as unknown as DiskDescription;
  const domain = { id: null, stats: null } as unknown as Domain;
  return sizeActive(domain, disk, null, options);
}

function capacityOf(image: ImageFacts): number | null {
  if (image.format === 'raw') return image.lengthBytes;
  return image.qcow2?.capacityBytes ?? null;
}

async function sparsifyGain(image: ImageFacts, allocation: number | null, inUse: boolean, options: SizeOptions): Promise<number | null> {
  const { format, kind, path, qcow2 } = image;
  if (kind === 'block' || allocation === null || (format !== 'raw' && format !== 'qcow2')) return null;
  // qemu-img would open a data file by itself, and cannot read what is encrypted without the key.
  if (format === 'qcow2' && (qcow2 === null || qcow2.hasDataFile || qcow2.encryption !== 'none')) return null;
  try {
    const { requiredBytes } = await measureImage({ path, kind, format, inUse }, { signal: options.signal });
    if (format === 'qcow2') return Math.max(0, allocation - requiredBytes);
    const empty = await options.measurer.measure({ format: 'qcow2', capacityBytes: image.lengthBytes });
    return Math.max(0, allocation - Math.max(0, requiredBytes - empty.requiredBytes));
  } catch (thrown) {
    if (toAppError(thrown).code === 'interrupted') throw thrown;
    return null;
  }
}

async function safely(work: () => Promise<Commitment>): Promise<Commitment> {
  try {
    return await work();
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'tool-missing' && error.code !== 'tool-failed' && error.code !== 'tool-timeout') throw error;
    return { bytes: null, unbounded: false, reason: error.message };
  }
}

/** What the guests' own filesystems use, for those with a connected agent; null for an agent that does not answer. */
export async function askFilesystems(
  connection: Connection,
  domains: readonly Domain[],
  options: RunOptions,
): Promise<Map<string, FsInfo>> {
  const client = new AgentClient(connection);
  const limit = pLimit(8);
  const answers = new Map<string, FsInfo>();
  await Promise.all(
    domains
      .filter((domain) => domain.state === 'running' && domain.channel === 'connected')
      .map((domain) =>
        limit(async () => {
          try {
            answers.set(domain.uuid, await client.fsInfo(domain.uuid, { timeoutSeconds: quickTimeoutSeconds, signal: options.signal }));
          } catch (thrown) {
            if (toAppError(thrown).code === 'interrupted') throw thrown;
            // A guest that does not answer has no trim figure; that is what the missing entry says.
          }
        }),
      ),
  );
  return answers;
}
