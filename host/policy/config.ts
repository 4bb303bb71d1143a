import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { SettingKey } from './settings.ts';

export interface Placed<T> {
  readonly value: T;
  /** `FILE:LINE` */
  readonly place: string;
}

export type PlacedValues = { readonly [K in SettingKey]?: Placed<unknown> };

export interface Config {
  /** Files that were read, in order; later ones win. */
  readonly files: readonly string[];
  readonly defaults: PlacedValues;
  readonly rules: readonly { readonly match: readonly string[]; readonly place: string; readonly values: PlacedValues }[];
  /** libvirt URIs of a fleet. */
  readonly connections: Placed<readonly string[]> | null;
  readonly limits: {
    readonly perHypervisor: Placed<number> | null;
    readonly perBackend: Placed<number> | null;
    readonly ioPressure: Placed<number> | null;
  };
}

export const emptyConfig: Config = {
  files: [],
  defaults: {},
  rules: [],
  connections: null,
  limits: { perHypervisor: null, perBackend: null, ioPressure: null },
};

const maxFileBytes = 1024 * 1024;

/** /etc/virt-trim, or VIRT_TRIM_CONFIG_DIR. */
export function configDirectory(env: Readonly<Record<string, string | undefined>>): string {
  const named = env['VIRT_TRIM_CONFIG_DIR'];
  return named === undefined || named === '' ? '/etc/virt-trim' : path.resolve(named);
}

/**
 * Reads config.yaml, then conf.d/*.yaml in the order of their names. No files is an empty configuration.
 * @throws AppError `config`, naming file and line: syntax, unknown key, bad value, or a file that others may write.
 */
export async function loadConfig(env: Readonly<Record<string, string | undefined>>): Promise<Config> {
  const directory = configDirectory(env);
  let config = emptyConfig;
  for (const file of [path.join(directory, 'config.yaml'), ...(await confD(path.join(directory, 'conf.d')))]) {
    const text = await readSafely(file);
    if (text === null) continue;
    const { parseConfig } = await import('./parse-config.ts'); // YAML is a fifth of all code: most runs have no file
    config = mergeConfig(config, parseConfig(text, file));
  }
  return config;
}

async function confD(directory: string): Promise<string[]> {
  try {
    const names = await readdir(directory);
    return names
      .filter((name) => /^[^.].*\.ya?ml$/.test(name))
      .sort()
      .map((name) => path.join(directory, name));
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return [];
    throw new AppError('config', `${directory}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Who can write the configuration decides what is frozen and for how long: so nobody but its owner may. */
async function readSafely(file: string): Promise<string | null> {
  try {
    const facts = await stat(file);
    if ((facts.mode & 0o002) !== 0) throw new AppError('config', `${file}: everybody can write to it; run: chmod o-w ${file}`);
    if (facts.size > maxFileBytes) throw new AppError('config', `${file}: larger than 1 MiB`);
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw new AppError('config', `${file}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The later file's defaults and limits win; its rules come behind the earlier ones. */
export function mergeConfig(earlier: Config, later: Config): Config {
  return {
    files: [...earlier.files, ...later.files],
    defaults: { ...earlier.defaults, ...later.defaults },
    rules: [...earlier.rules, ...later.rules],
    connections: later.connections ?? earlier.connections,
    limits: {
      perHypervisor: later.limits.perHypervisor ?? earlier.limits.perHypervisor,
      perBackend: later.limits.perBackend ?? earlier.limits.perBackend,
      ioPressure: later.limits.ioPressure ?? earlier.limits.ioPressure,
    },
  };
}
