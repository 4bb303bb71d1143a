import { measureLayout, type ImageLayout, type ImageMeasure, type QemuImgOptions } from '../libvirt/qemu-img.ts';
import type { ImageFacts } from './image.ts';

/** The most that an image can come to need on the host; `bytes` null with the reason. */
export interface Commitment {
  readonly bytes: number | null;
  /** No figure exists: internal snapshots can multiply what an image takes. */
  readonly unbounded: boolean;
  readonly reason: string | null;
}

/** Measures layouts, each distinct one once: a thousand images of one size cost one process. */
export class LayoutMeasurer {
  readonly #known = new Map<string, Promise<ImageMeasure>>();
  readonly #options: QemuImgOptions;

  constructor(options: QemuImgOptions = {}) {
    this.#options = options;
  }

  async measure(layout: ImageLayout): Promise<ImageMeasure> {
    const key = JSON.stringify(layout);
    let answer = this.#known.get(key);
    if (answer === undefined) this.#known.set(key, (answer = measureLayout(layout, this.#options)));
    return answer;
  }
}

/** @throws AppError where qemu-img is missing or fails. */
export async function commitmentOf(image: ImageFacts, measurer: LayoutMeasurer): Promise<Commitment> {
  const known = (bytes: number): Commitment => ({ bytes, unbounded: false, reason: null });
  const unknown = (reason: string, unbounded = false): Commitment => ({ bytes: null, unbounded, reason });
  if (image.kind === 'block') return known(image.lengthBytes); // whatever the format: the device does not grow
  if (image.format === 'raw') return known(Math.max(image.lengthBytes, image.allocationBytes ?? 0));
  if (image.format !== 'qcow2') return unknown(`no figure for the format ${image.format}`);
  const header = image.qcow2;
  if (header === null) return unknown('the file has no valid qcow2 header');
  if (header.internalSnapshots > 0) {
    const count = `${header.internalSnapshots} internal snapshot${header.internalSnapshots === 1 ? '' : 's'}`;
    return unknown(`unbounded: ${count} keep their own clusters`, true);
  }
  if (header.hasDataFile) return unknown('the data lies in a file of its own, which is not followed');
  const { capacityBytes, clusterBytes, refcountBits, extendedL2 } = header;
  const layout = { format: 'qcow2' as const, capacityBytes, clusterBytes, refcountBits, extendedL2 };
  const { fullyAllocatedBytes } = await measurer.measure(layout);
  // After repeated trims a qcow2 file can be longer than that, but it does not take more: the rest of its length are holes.
  return known(Math.max(fullyAllocatedBytes + header.luksHeaderBytes, image.allocationBytes ?? 0));
}
