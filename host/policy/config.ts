import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { configSchema } from './config-schema.ts';
import { settingKeys, settingProblem, type SettingKey } from './settings.ts';

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
    if (text !== null) config = mergeConfig(config, parseConfig(text, file));
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

/** Reads one file's text. @throws AppError `config`. */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, strict: true, uniqueKeys: true, version: '1.2', prettyErrors: false });
  const [syntax] = document.errors;
  if (syntax !== undefined) throw fault(file, lines.linePos(syntax.pos[0]).line, syntax.message);
  const placeOf = (at: readonly PropertyKey[]): string => `${file}:${lineOf(document, lines, at)}`;
  const raw: unknown = toData(document, file) ?? {};
  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = issue === undefined ? [] : issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path;
    throw fault(file, lineOf(document, lines, at), describeIssue(at, parsed.error));
  }
  const { defaults = {}, domains = [], hosts, connections, limits = {} } = parsed.data;
  const limit = (key: 'per-hypervisor' | 'per-backend' | 'io-pressure'): Placed<number> | null =>
    limits[key] === undefined ? null : { value: limits[key], place: placeOf(['limits', key]) };
  return {
    files: [file],
    defaults: place(defaults, (key) => placeOf(['defaults', key])),
    rules: domains.map(({ match, ...values }, index) => ({
      match: typeof match === 'string' ? [match] : match,
      place: placeOf(['domains', index]),
      values: place(values, (key) => placeOf(['domains', index, key])),
    })),
    connections:
      hosts === undefined
        ? connections === undefined
          ? null
          : { value: connections, place: placeOf(['connections']) }
        : { value: hosts, place: placeOf(['hosts']) },
    limits: { perHypervisor: limit('per-hypervisor'), perBackend: limit('per-backend'), ioPressure: limit('io-pressure') },
  };
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

function place(values: Readonly<Record<string, unknown>>, placeOf: (key: string) => string): PlacedValues {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, { value, place: placeOf(key) }]])),
  );
}

/** Aliases are not needed here, and are the way to make a small file huge. */
function toData(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new AppError('config', `${file}: ${(cause as Error).message}`, { cause });
  }
}

function lineOf(document: Document, lines: LineCounter, at: readonly PropertyKey[]): number {
  for (let depth = at.length; depth > 0; depth -= 1) {
    const parent = depth === 1 ? document.contents : document.getIn(at.slice(0, depth - 1), true);
    const items = (parent as { items?: { key?: { value?: unknown; range?: number[] }; range?: number[] }[] } | null)?.items ?? [];
    const key = at[depth - 1];
    const item = typeof key === 'number' ? items[key] : items.find((candidate) => candidate.key?.value === key)?.key;
    const start = item?.range?.[0];
    if (start !== undefined) return lines.linePos(start).line;
  }
  return 1;
}

function describeIssue(at: readonly PropertyKey[], error: Parameters<typeof settingProblem>[1]): string {
  const [issue] = error.issues;
  const last = String(at.at(-1) ?? '');
  const inSettings = at[0] === 'defaults' || at[0] === 'domains';
  if (issue?.code === 'unrecognized_keys') {
    const known =
      at.length === 1
        ? ['defaults', 'domains', 'hosts', 'connections', 'limits']
        : at[0] === 'limits'
          ? ['per-hypervisor', 'per-backend', 'io-pressure']
          : [...(at[0] === 'domains' ? ['match'] : []), ...settingKeys];
    return `unknown key '${last}'; known here: ${known.join(', ')}`;
  }
  if (inSettings && settingKeys.includes(last as SettingKey)) return settingProblem(last, error);
  return `${at.map(String).join('.') || 'the file'}: ${issue?.message ?? 'not valid'}`;
}

function fault(file: string, line: number, message: string): AppError {
  return new AppError('config', `${file}:${line}: ${cleanText(message, 400)}`, { context: { file, line } });
}
