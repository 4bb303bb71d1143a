import { AppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import type { DomainDescription } from '../libvirt/domain-xml.ts';
import type { Config, PlacedValues } from './config.ts';
import { matchesSelectors } from './select.ts';
import { settingKeys, settingProblem, settings, settingsSchema, settingsShape, type PolicyValues, type SettingKey } from './settings.ts';
import type * as z from 'zod/mini';

/** Where a value came from, strongest first. */
export const originKinds = ['flag', 'environment', 'metadata', 'config', 'default'] as const;

export interface Origin {
  readonly kind: (typeof originKinds)[number];
  /** The flag, the variable, `metadata of NAME`, `FILE:LINE`; '' for a default. */
  readonly place: string;
}

export interface Setting<T> {
  readonly value: T;
  readonly origin: Origin;
}

export type EffectivePolicy = { readonly [K in keyof PolicyValues]: Setting<PolicyValues[K]> };

export interface PolicySources {
  /** Values that the command line gave, already parsed. */
  readonly flags?: Partial<PolicyValues> | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly config: Config;
}

type PolicyDomain = Pick<DomainDescription, 'name' | 'uuid' | 'metadata'>;

/** The element below `<metadata>` that holds a domain's own settings, as attributes. */
export const policyElement = 'policy';

/**
 * Every setting of a domain and where it came from: flags, then environment, then the domain's metadata, then the configuration
 * (later rules win over earlier ones and over its `defaults`), then our defaults.
 * @throws AppError `config` for an unknown key or a bad value, naming the place.
 */
export function effectivePolicy(domain: PolicyDomain, sources: PolicySources): EffectivePolicy {
  const metadata = metadataPolicy(domain);
  const environment = environmentPolicy(sources.env ?? {});
  const tags = metadata.tags?.value ?? [];
  const fromConfig: PlacedValues[] = [
    ...sources.config.rules
      .filter((rule) => matchesSelectors(rule.match, { name: domain.name, uuid: domain.uuid, tags: tags as string[] }))
      .map((rule) => rule.values)
      .toReversed(),
    sources.config.defaults,
  ];
  const result: Record<string, Setting<unknown>> = {};
  for (const key of settingKeys) {
    const { field, fallback } = settings[key];
    const flag = sources.flags?.[field];
    result[field] =
      flag === undefined
        ? (placed(environment, key, 'environment') ??
          placed(metadata, key, 'metadata') ??
          fromConfig.map((values) => placed(values, key, 'config')).find((value) => value !== undefined) ?? {
            value: fallback,
            origin: { kind: 'default', place: '' },
          })
        : { value: flag, origin: { kind: 'flag', place: `--${key}` } };
  }
  return result as unknown as EffectivePolicy;
}

function placed(values: PlacedValues, key: SettingKey, kind: Origin['kind']): Setting<unknown> | undefined {
  const found = values[key];
  return found === undefined ? undefined : { value: found.value, origin: { kind, place: found.place } };
}

/** A domain's own settings. @throws AppError `config`. */
export function metadataPolicy(domain: PolicyDomain): PlacedValues {
  const place = `metadata of ${cleanText(domain.name)}`;
  const parsed = settingsSchema.safeParse(domain.metadata[policyElement] ?? {});
  if (!parsed.success) throw problem(place, String(parsed.error.issues[0]?.path[0] ?? ''), parsed.error);
  return Object.fromEntries(Object.entries(parsed.data).map(([key, value]) => [key, { value, place }]));
}

function environmentPolicy(env: Readonly<Record<string, string | undefined>>): PlacedValues {
  const values: Record<string, { value: unknown; place: string }> = {};
  for (const key of settingKeys) {
    const { variable } = settings[key];
    const text = variable === null ? undefined : env[variable];
    if (variable === null || text === undefined || text === '') continue;
    const parsed = settingsShape[key].safeParse(text);
    if (!parsed.success) throw problem(`environment variable ${variable}`, key, parsed.error);
    values[key] = { value: parsed.data, place: variable };
  }
  return values;
}

function problem(place: string, key: string, error: z.core.$ZodError): AppError {
  return new AppError('config', `${place}: ${cleanText(settingProblem(key, error))}`, { cause: error, context: { place } });
}
