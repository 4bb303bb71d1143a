/** One file of an initramfs. `mode` holds type and permissions as in stat(2). */
export interface ArchiveEntry {
  /** Without a leading slash. */
  readonly path: string;
  readonly mode: number;
  readonly content?: Uint8Array | undefined;
}

export const fileMode = { directory: 0o040755, program: 0o100755, file: 0o100644, link: 0o120777 } as const;

function pad4(length: number): number {
  return (4 - (length % 4)) % 4;
}

/** The kernel's initramfs format: cpio "newc" (Documentation/driver-api/early-userspace/buffer-format.rst). */
function encodeEntry(entry: ArchiveEntry, inode: number): Buffer[] {
  const content = entry.content ?? new Uint8Array();
  const name = Buffer.from(`${entry.path}\0`);
  const fields = [inode, entry.mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [
    header,
    name,
    Buffer.alloc(pad4(header.length + name.length)),
    Buffer.from(content.buffer, content.byteOffset, content.length),
    Buffer.alloc(pad4(content.length)),
  ];
}

/** Every folder on the way to a path, which the kernel does not make by itself. */
function parentsOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** Packs entries, with the folders they need, into an archive. A later entry of the same path replaces an earlier one. */
export function packArchive(entries: readonly ArchiveEntry[]): Buffer {
  const all = new Map<string, ArchiveEntry>();
  for (const entry of entries) {
    for (const path of parentsOf(entry.path)) if (!all.has(path)) all.set(path, { path, mode: fileMode.directory });
    all.set(entry.path, entry);
  }
  const pieces = [...all.values()].flatMap((entry, index) => encodeEntry(entry, index + 1));
  pieces.push(...encodeEntry({ path: 'TRAILER!!!', mode: 0 }, 0));
  return Buffer.concat(pieces);
}
