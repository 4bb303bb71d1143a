import { LineCounter, parseDocument, type Document } from 'yaml';
import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import type { Config, Placed, PlacedValues } from './config.ts';
import { configSchema } from './config-schema.ts';
import { settingKeys, settingProblem, type SettingKey } from './settings.ts';

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
