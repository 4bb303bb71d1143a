import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { headerBytes, hasQcow2Magic, parseQcow2Header, type Qcow2Header } from './qcow2-header.ts';

/** What an image is, as read from the file itself without opening anything else. */
export interface ImageFacts {
  readonly path: string;
  readonly kind: 'file' | 'block';
  /** As the XML says; the file's own bytes have no say in it. */
  readonly format: string;
  readonly lengthBytes: number;
  /** `st_blocks`; null for a block device. */
  readonly allocationBytes: number | null;
  /** Which filesystem the file lies on, and which file it is: two paths can be one file. */
  readonly device: number;
  readonly inode: number;
  /** Only for format qcow2; null there means: not a header QEMU would open. */
  readonly qcow2: Qcow2Header | null;
  /** The file begins like a qcow2 image, whatever the XML says. */
  readonly looksLikeQcow2: boolean;
}

/** Why an image could not be read, in words. */
export interface UnreadableImage {
  readonly path: string;
  readonly problem: string;
}

export function isUnreadableImage(image: ImageFacts | UnreadableImage): image is UnreadableImage {
  return 'problem' in image;
}

/** Reads one local image: its size on the host and, where the XML says qcow2, its header. Opens this file alone, read-only, and never waits on it. */
export async function readImage(path: string, format: string): Promise<ImageFacts | UnreadableImage> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const words: Readonly<Record<string, string>> = { ENOENT: 'does not exist on this host', EACCES: 'may not be read by us' };
    return { path, problem: words[code ?? ''] ?? `cannot be opened (${code ?? 'error'})` };
  }
  try {
    const facts = await handle.stat();
    if (!facts.isFile() && !facts.isBlockDevice()) return { path, problem: 'is neither a file nor a block device' };
    const buffer = Buffer.alloc(headerBytes);
    const { bytesRead } = await handle.read(buffer, 0, headerBytes, 0);
    const head = buffer.subarray(0, bytesRead);
    return {
      path,
      kind: facts.isFile() ? 'file' : 'block',
      format,
      lengthBytes: facts.isFile() ? facts.size : await deviceLength(handle),
      allocationBytes: facts.isFile() ? facts.blocks * 512 : null,
      device: facts.isFile() ? facts.dev : facts.rdev,
      inode: facts.isFile() ? facts.ino : 0,
      qcow2: format === 'qcow2' ? parseQcow2Header(head) : null,
      looksLikeQcow2: hasQcow2Magic(head),
    };
  } catch (cause) {
    return { path, problem: `cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'error'})` };
  } finally {
    await handle.close();
  }
}

/** Node has no ioctl and no lseek: the last readable byte is found by bisection, 60 reads of one byte at most. */
async function deviceLength(handle: FileHandle): Promise<number> {
  const one = Buffer.alloc(1);
  const readable = async (at: number): Promise<boolean> => (await handle.read(one, 0, 1, at)).bytesRead === 1;
  let least = 0;
  let most = 2 ** 50;
  while (least < most) {
    const middle = Math.floor((least + most) / 2);
    if (await readable(middle)) least = middle + 1;
    else most = middle;
  }
  return least;
}
