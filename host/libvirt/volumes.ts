import type { Connection, RunOptions } from './connection.ts';
import type { DiskDescription } from './domain-xml.ts';

/** `pool/volume` of the disks that name a storage volume instead of a path. */
function volumesOf(disks: readonly DiskDescription[]): string[] {
  return [...new Set(disks.flatMap((disk) => (disk.type === 'volume' && disk.source !== null ? [disk.source] : [])))];
}

/** The paths behind `<source pool= volume=>`, by `pool/volume`. One virsh process, none where no disk needs it. */
export async function resolveVolumes(
  connection: Connection,
  disks: readonly DiskDescription[],
  options: RunOptions = {},
): Promise<Map<string, string>> {
  const volumes = volumesOf(disks);
  const paths = new Map<string, string>();
  if (volumes.length === 0) return paths;
  const commands = volumes.map((volume) => {
    const slash = volume.indexOf('/');
    return ['vol-path', '--pool', volume.slice(0, slash), '--vol', volume.slice(slash + 1)];
  });
  for (const [index, answer] of (await connection.runAll(commands, options)).entries()) {
    const path = answer.ok ? answer.stdout.trim() : '';
    if (path.startsWith('/')) paths.set(volumes[index] ?? '', path);
  }
  return paths;
}

/** The path of a disk's image on the host that runs it; null for what has none (network) or could not be resolved. */
export function localPathOf(disk: Pick<DiskDescription, 'type' | 'source'>, volumes: ReadonlyMap<string, string>): string | null {
  if (disk.source === null) return null;
  if (disk.type === 'file' || disk.type === 'block') return disk.source;
  return disk.type === 'volume' ? (volumes.get(disk.source) ?? null) : null;
}
