import { openFilesystem, readMounts } from '../mounts/mount-table.ts';
import type { Mount } from '../mounts/mount-table.ts';
import { QgaError } from '../qga-error.ts';
import type { Sys } from '../sys.ts';
import type { FrozenRecord } from './marker.ts';
import type { Held } from './thaw.ts';

/** Opens again what a killed predecessor had frozen. `complete` is false when there is something that no path leads to. */
export function reopenRecorded(sys: Sys, record: FrozenRecord): { readonly held: Held[]; readonly complete: boolean } {
  const mounts = readMounts(sys);
  const held: Held[] = [];
  let complete = true;
  for (const { filesystem } of record.filesystems) {
    const mount = mounts.find((it) => it.filesystem === filesystem);
    const fd = mount === undefined ? undefined : tryOpen(sys, mount, mounts);
    if (mount === undefined || fd === undefined) complete = false;
    else held.push({ mount, fd });
  }
  return { held, complete };
}

function tryOpen(sys: Sys, mount: Mount, mounts: readonly Mount[]): number | undefined {
  try {
    return openFilesystem(sys, mount, mounts);
  } catch (thrown) {
    if (thrown instanceof QgaError) return undefined;
    throw thrown;
  }
}
