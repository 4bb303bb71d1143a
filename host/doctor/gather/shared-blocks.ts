import { toAppError } from '../../../shared/errors.ts';
import { runTool } from '../../process.ts';
import type { SharedBlocks } from '../facts.ts';

/** Filesystems that can share blocks between files, and say so over FIEMAP. ZFS can, and does not say. */
const sharing: readonly string[] = ['xfs', 'btrfs', 'ocfs2', 'bcachefs'];
const silent: readonly string[] = ['zfs'];

/**
 * Reads `filefrag -v FILE…`: a header per file, then its extents with their flags.
 * @returns by file, whether an extent is marked `shared`; a file without a section is missing.
 */
export function parseFilefrag(text: string, files: readonly string[]): Map<string, boolean> {
  const shared = new Map<string, boolean>();
  let current: string | null = null;
  for (const line of text.split('\n')) {
    const header = files.find((file) => line.startsWith(`File size of ${file} is `));
    if (header !== undefined) {
      current = header;
      shared.set(current, false);
    } else if (current !== null && /^\s*\d+:.*[\s,]shared(?:,|\s|$)/.test(line)) shared.set(current, true);
  }
  return shared;
}

/** Which of these images share blocks with something else on the host. One process for all; none where no filesystem can share. */
export async function readSharedBlocks(
  images: readonly { readonly path: string; readonly filesystem: string }[],
): Promise<Map<string, SharedBlocks>> {
  const result = new Map<string, SharedBlocks>();
  for (const { path, filesystem } of images) {
    if (silent.includes(filesystem))
      result.set(path, { shared: null, how: `${filesystem} does not tell: 'zfs list -t snapshot' shows snapshots` });
  }
  const files = [...new Set(images.filter((image) => sharing.includes(image.filesystem)).map((image) => image.path))];
  if (files.length === 0) return result;
  const unknown = (how: string): Map<string, SharedBlocks> => {
    for (const file of files) result.set(file, { shared: null, how });
    return result;
  };
  try {
    const answer = await runTool('filefrag', ['-v', ...files], { timeoutMs: 30_000, env: { LC_ALL: 'C' } });
    if (answer.timedOut || answer.overflowed) return unknown('the extents of the image could not be read in time');
    const shared = parseFilefrag(answer.stdout, files);
    for (const file of files) {
      const found = shared.get(file);
      const how =
        found === undefined
          ? 'filefrag could not read the extents'
          : `filefrag: ${found ? 'extents are marked shared' : 'no extent is shared'}`;
      result.set(file, { shared: found ?? null, how });
    }
    return result;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'tool-missing') throw error;
    return unknown('filefrag (e2fsprogs) is not installed');
  }
}
