import { access, constants, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { Domain } from '../libvirt/domains.ts';
import type { Participant } from './window.ts';

async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false; // not there, or not ours to run
  }
}

/** Finds the program before anything is frozen, as execvp(3) does. @throws AppError `tool-missing`. */
export async function findProgram(name: string, env: NodeJS.ProcessEnv): Promise<string> {
  const folders = name.includes('/') ? [''] : (env['PATH'] ?? '/usr/bin:/bin').split(':');
  for (const folder of folders) {
    const file = path.resolve(folder, name);
    if (await isProgram(file)) return file;
  }
  throw new AppError('tool-missing', `${name}: program not found; nothing was frozen`, { context: { program: name } });
}

/** What COMMAND is told. Lists have one entry a line, in the same order; names are display only, UUIDs are what libvirt takes. */
export function commandEnvironment(participants: readonly Participant[], domains: readonly Domain[], uri: string): Record<string, string> {
  const images = domains.flatMap((domain) =>
    domain.disks.flatMap((disk) => (disk.device === 'disk' && disk.source !== null ? [disk.source] : [])),
  );
  const deadlines = participants.flatMap(({ hold }) => (hold.record === null ? [] : [hold.deadline])).toSorted();
  return {
    VIRT_TRIM_URI: uri,
    VIRT_TRIM_DOMAINS: domains.map((domain) => domain.name).join('\n'),
    VIRT_TRIM_UUIDS: domains.map((domain) => domain.uuid).join('\n'),
    VIRT_TRIM_IMAGES: images.join('\n'),
    VIRT_TRIM_LEASES: participants.map(({ hold }) => hold.record?.id ?? '').join('\n'),
    VIRT_TRIM_DEADLINE: deadlines[0] ?? '',
  };
}
