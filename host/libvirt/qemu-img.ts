import * as z from 'zod/mini';
import { AppError } from '../../shared/errors.ts';
import { runTool } from '../process.ts';

/**
 * The only place that runs qemu-img. On a guest's image it is run with the format from the domain XML and with every further layer cut
 * off (`backing: null`, no data file): a guest with a raw disk can write a qcow2 header that names a file of the host (CVE-2026-24708).
 */
export interface QemuImgOptions {
  readonly program?: string | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The options of an image that decide how much metadata it needs. */
export interface ImageLayout {
  readonly format: 'qcow2' | 'raw';
  readonly capacityBytes: number;
  readonly clusterBytes?: number;
  readonly refcountBits?: number;
  readonly extendedL2?: boolean;
}

const measured = z.object({ required: z.int().check(z.nonnegative()), 'fully-allocated': z.int().check(z.nonnegative()) });

export interface ImageMeasure {
  /** Bytes that a new image with the same content would take. */
  readonly requiredBytes: number;
  /** Bytes that it takes when every block has been written. */
  readonly fullyAllocatedBytes: number;
}

/**
 * What an image of this layout comes to need (qemu-img(1), measure). No image is opened: the layout is all that it asks for.
 * @throws AppError `tool-missing`, `tool-failed`, `tool-timeout`.
 */
export async function measureLayout(layout: ImageLayout, options: QemuImgOptions = {}): Promise<ImageMeasure> {
  const creation = [
    layout.clusterBytes === undefined ? [] : [`cluster_size=${layout.clusterBytes}`],
    layout.refcountBits === undefined ? [] : [`refcount_bits=${layout.refcountBits}`],
    layout.extendedL2 === true ? ['extended_l2=on'] : [], // only named where it is set: QEMU before 5.2 does not know it
  ].flat();
  const args = ['measure', '--output', 'json', '-O', layout.format, '--size', String(layout.capacityBytes)];
  return runMeasure([...args, ...(layout.format === 'qcow2' && creation.length > 0 ? ['-o', creation.join(',')] : [])], options);
}

/** One image of a guest. `path` and `format` come from the domain XML, never from a header. */
export interface GuestImage {
  readonly path: string;
  readonly kind: 'file' | 'block';
  readonly format: 'qcow2' | 'raw';
  readonly inUse: boolean;
}

/**
 * What a copy without its holes and zero clusters would take. Reads this one layer: the caller has made sure that the header names no
 * data file (a qcow2 driver follows that one unasked). While the guest writes, the figure is approximate.
 * @throws AppError `tool-missing`, `tool-failed`, `tool-timeout`.
 */
export async function measureImage(image: GuestImage, options: QemuImgOptions = {}): Promise<ImageMeasure> {
  const file = { driver: image.kind === 'block' ? 'host_device' : 'file', filename: image.path };
  const node = image.format === 'qcow2' ? { driver: 'qcow2', backing: null, file } : { driver: 'raw', file };
  const flags = ['--output', 'json', ...(image.inUse ? ['-U'] : []), '-f', image.format];
  // Measured as a qcow2 copy in both cases: for `-O raw` QEMU answers with the whole length.
  return runMeasure(['measure', ...flags, '-O', 'qcow2', `json:${JSON.stringify(node)}`], options);
}

async function runMeasure(args: readonly string[], options: QemuImgOptions): Promise<ImageMeasure> {
  const answer = measured.safeParse(parseJson(await runQemuImg(args, { ...options, timeoutMs: options.timeoutMs ?? 30_000 })));
  if (!answer.success) throw new AppError('tool-failed', 'qemu-img measure failed: its answer is not what qemu-img(1) describes');
  return { requiredBytes: answer.data.required, fullyAllocatedBytes: answer.data['fully-allocated'] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // judged by the schema
  }
}

/** @returns its stdout. @throws AppError `tool-missing`, `tool-failed`, `tool-timeout`, `interrupted`. */
async function runQemuImg(args: readonly string[], options: QemuImgOptions): Promise<string> {
  const program = options.program ?? process.env['VIRT_TRIM_QEMU_IMG'] ?? 'qemu-img';
  const what = `${program} ${args[0] ?? ''}`;
  const result = await runTool(program, args, {
    timeoutMs: options.timeoutMs ?? 600_000,
    signal: options.signal,
    maxBytes: 64 * 1024,
    env: { LC_ALL: 'C' },
  });
  if (result.timedOut) throw new AppError('tool-timeout', `${what}: no answer; is the storage hung?`);
  if (result.exitCode === 0) return result.stdout;
  const words = result.stderr.trim().split('\n')[0] ?? '';
  throw new AppError('tool-failed', `${what} failed: ${words === '' ? 'no reason given' : words}`);
}

/**
 * Makes a new qcow2 overlay on an image of a domain that is off. The image's format is the domain XML's, and is written into the overlay.
 * @throws AppError `tool-missing`, `tool-failed`, `tool-timeout`, `interrupted`.
 */
export async function createOverlay(
  base: { readonly path: string; readonly format: 'qcow2' | 'raw' },
  file: string,
  options: QemuImgOptions = {},
): Promise<void> {
  await runQemuImg(['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, file], options);
}

/**
 * Writes an overlay of ours into the image that it stands on; QEMU locks that one. Doing it twice is as good as once, so a commit that
 * was killed is finished by another. Never interrupted by us.
 */
export async function commitOverlay(file: string, options: Omit<QemuImgOptions, 'signal'> = {}): Promise<void> {
  await runQemuImg(['commit', '-q', '-f', 'qcow2', file], { ...options, timeoutMs: options.timeoutMs ?? 3_600_000 });
}
