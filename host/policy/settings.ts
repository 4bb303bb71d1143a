import * as z from 'zod/mini';
import { isCronExpression, isTimeZone, localTimeZone } from '../schedule/cron.ts';
import { parseMaintenance } from '../schedule/maintenance.ts';
import { parseDuration, parseSize } from '../../shared/units.ts';

/** Ranked: a cut that comes out lower than required is undone (design: `application > filesystem > crash`). */
export const quiesceLevels = ['crash', 'filesystem', 'application'] as const;
export type QuiesceLevel = (typeof quiesceLevels)[number];

/** Every setting, under its name in the program. */
export interface PolicyValues {
  /** Whether `trim --all` and the schedule may trim this domain. Named on the command line it is trimmed anyway. */
  readonly trim: boolean;
  /** Free ranges shorter than this are left alone by the guest; 0 lets the filesystem decide. */
  readonly minimumBytes: number;
  /** For one trim inside the guest; null: by guest OS (Windows gets an hour). */
  readonly timeoutSeconds: number | null;
  /** Globs over target names: `vdb`, `sd*`. */
  readonly excludeDisks: readonly string[];
  /** What a freeze must reach, or the hook refuses. */
  readonly quiesceLevel: QuiesceLevel;
  readonly leaseSeconds: number;
  /** A VSS freeze may truncate the logs of an application that does its own backups; so it needs a yes. */
  readonly windowsFreeze: boolean;
  /** A cron expression of five fields, or null. */
  readonly schedule: string | null;
  /** IANA name; the schedule and the maintenance windows are in its time. */
  readonly timeZone: string;
  /** Domains of one schedule are spread over this much time. */
  readonly windowSeconds: number;
  /** Times in which the daemon may begin a trim, such as `Mon-Fri 22:00-05:00`; null: always. */
  readonly maintenance: string | null;
  /** Whether a run that was missed because the host was off is made up for, once. */
  readonly catchUp: boolean;
  /** The name of the storage that its disks share with others, where it cannot be told from here; null: found out. */
  readonly backend: string | null;
  /** For selectors: `tag:prod`. */
  readonly tags: readonly string[];
}

const sizePattern = /^\d+(\.\d+)?\s*([KMGTPE](iB|B)?|B)?$/i;
const durationPattern = /^(\d+(\.\d+)?|(\d+(\.\d+)?(ms|s|min|m|h|d))+)$/;

const yesOrNo = z.pipe(
  z.union([z.boolean(), z.enum(['yes', 'no', 'true', 'false', 'on', 'off'])]),
  z.transform(
    (value: boolean | 'yes' | 'no' | 'true' | 'false' | 'on' | 'off') =>
      value === true || value === 'yes' || value === 'true' || value === 'on',
  ),
);
const size = z.pipe(
  z
    .union([z.int().check(z.nonnegative()), z.string().check(z.regex(sizePattern))])
    .check(z.refine((value) => typeof value === 'number' || parseSize(value) !== null, 'too large')),
  z.transform((value: number | string) => (typeof value === 'number' ? value : (parseSize(value) ?? 0))),
);
const toSeconds = (value: number | string): number => Math.ceil((parseDuration(String(value)) ?? 0) / 1000);
const seconds = (least: number, most: number) =>
  z.pipe(
    z
      .union([z.int().check(z.nonnegative()), z.string().check(z.regex(durationPattern))])
      .check(z.refine((value) => toSeconds(value) >= least && toSeconds(value) <= most, `must be between ${least} s and ${most} s`)),
    z.transform(toSeconds),
  );
const words = z.pipe(
  z.union([z.string(), z.array(z.string()).check(z.maxLength(100))]),
  z.transform((value: string | string[]) =>
    (typeof value === 'string' ? value.split(',') : value).map((word) => word.trim()).filter(Boolean),
  ),
);
const cron = z.pipe(
  z
    .string()
    .check(
      z.refine(
        (value) => value === 'none' || isCronExpression(value),
        'is no cron expression of five fields (minute hour day month weekday)',
      ),
    ),
  z.transform((value: string) => (value === 'none' ? null : value)),
);
const timeZone = z.string().check(z.refine(isTimeZone, 'is no time zone that is known here; expected a name such as Europe/Berlin'));
const maintenance = z.pipe(
  z
    .string()
    .check(
      z.refine(
        (value) => value === 'any' || parseMaintenance(value) !== null,
        "expected times such as '22:00-05:00' or 'Mon-Fri 22:00-05:00; Sat,Sun 00:00-24:00', or 'any'",
      ),
    ),
  z.transform((value: string) => (value === 'any' ? null : value)),
);
const backend = z.pipe(
  z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}$/)),
  z.transform((value: string) => (value === 'auto' ? null : value)),
);

/** The schema of each setting under its written name: the same in the configuration, the metadata and `policy set`. */
export const settingsShape = {
  trim: z.optional(yesOrNo),
  minimum: z.optional(size),
  timeout: z.optional(seconds(1, 86_400)),
  'exclude-disks': z.optional(words),
  quiesce: z.optional(z.enum(quiesceLevels)),
  lease: z.optional(seconds(1, 3600)),
  'windows-freeze': z.optional(yesOrNo),
  schedule: z.optional(cron),
  'time-zone': z.optional(timeZone),
  window: z.optional(seconds(0, 86_400)),
  maintenance: z.optional(maintenance),
  'catch-up': z.optional(yesOrNo),
  backend: z.optional(backend),
  tags: z.optional(words),
};
export const settingsSchema = z.strictObject(settingsShape);
export type SettingKey = keyof typeof settingsShape;
export const settingKeys = Object.keys(settingsShape) as SettingKey[];

/** Written name → name in the program, the variable that sets it (none where a value for all domains makes no sense), and the default. */
export const settings = {
  trim: { field: 'trim', variable: null, fallback: true },
  minimum: { field: 'minimumBytes', variable: 'VIRT_TRIM_MINIMUM', fallback: 0 },
  timeout: { field: 'timeoutSeconds', variable: 'VIRT_TRIM_TIMEOUT', fallback: null },
  'exclude-disks': { field: 'excludeDisks', variable: 'VIRT_TRIM_EXCLUDE_DISKS', fallback: [] },
  quiesce: { field: 'quiesceLevel', variable: 'VIRT_TRIM_QUIESCE', fallback: 'crash' },
  lease: { field: 'leaseSeconds', variable: 'VIRT_TRIM_LEASE', fallback: 60 },
  'windows-freeze': { field: 'windowsFreeze', variable: 'VIRT_TRIM_WINDOWS_FREEZE', fallback: false },
  schedule: { field: 'schedule', variable: null, fallback: '0 23 * * 3,7' },
  'time-zone': { field: 'timeZone', variable: null, fallback: localTimeZone() },
  window: { field: 'windowSeconds', variable: null, fallback: 3600 },
  maintenance: { field: 'maintenance', variable: null, fallback: null },
  'catch-up': { field: 'catchUp', variable: null, fallback: true },
  backend: { field: 'backend', variable: null, fallback: null },
  tags: { field: 'tags', variable: null, fallback: [] },
} as const satisfies Record<SettingKey, { field: keyof PolicyValues; variable: string | null; fallback: unknown }>;

/** What is wrong with a value, in words an administrator can use. */
export function settingProblem(key: string, error: z.core.$ZodError): string {
  const [issue] = error.issues;
  if (issue?.code === 'unrecognized_keys') return `unknown setting '${issue.keys[0] ?? ''}'; there are ${settingKeys.join(', ')}`;
  if (issue?.code === 'custom') return `${key}: ${issue.message}`;
  return `${key}: expected ${expectations[key as SettingKey] ?? 'another kind of value'}`;
}

const expectations: Readonly<Record<SettingKey, string>> = {
  trim: 'yes or no',
  minimum: 'a size such as 64K, 1MiB or 0',
  timeout: 'a duration such as 90, 10m or 1h',
  'exclude-disks': 'target names or globs, separated by commas',
  quiesce: quiesceLevels.join(', '),
  lease: 'a duration such as 60s, at most 1h',
  'windows-freeze': 'yes or no',
  schedule: "a cron expression of five fields, or 'none'",
  'time-zone': 'the name of a time zone such as Europe/Berlin',
  window: 'a duration such as 60m, at most 24h',
  maintenance: "times such as 'Mon-Fri 22:00-05:00', or 'any'",
  'catch-up': 'yes or no',
  backend: "a name, or 'auto'",
  tags: 'words, separated by commas',
};
