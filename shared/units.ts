/** Binary and decimal steps as util-linux knows them (fstrim(8): "KiB (=1024) … the iB is optional", "KB (=1000)"). */
const steps = ['K', 'M', 'G', 'T', 'P', 'E'] as const;

/**
 * Reads a size: `512`, `64K`, `64KiB` (1024s), `64KB` (1000s), with a fraction if it comes out as whole bytes.
 * @returns bytes, or null where the text is no size. Sizes beyond 2^53 are refused.
 */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGTPE])(iB|B)?|B)?$/i.exec(text.trim());
  if (match === null) return null;
  const power = match[2] === undefined ? 0 : steps.indexOf(match[2].toUpperCase() as (typeof steps)[number]) + 1;
  const base = match[3]?.toLowerCase() === 'b' ? 1000 : 1024;
  const bytes = Number(match[1]) * base ** power;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `1.6 GiB`: three significant digits at most, exact below 1 KiB; `-` for unknown, which is never shown as 0. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return '-';
  const sign = bytes < 0 ? '-' : '';
  let value = Math.abs(bytes);
  if (value < 1024) return `${sign}${value} B`;
  let step = -1;
  while (value >= 1023.5 && step < steps.length - 1) {
    value /= 1024;
    step += 1;
  }
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${sign}${Number(value.toFixed(digits))} ${steps[step]}iB`;
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads a duration: `90` (seconds), `500ms`, `60s`, `5m`, `1h`, `1h30m`, `2d`. @returns milliseconds, or null. */
export function parseDuration(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  if (!/^(\d+(\.\d+)?(ms|s|min|m|h|d))+$/.test(trimmed)) return null;
  let total = 0;
  for (const match of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|min|m|h|d)/g))
    total += Number(match[1]) * (durationUnits[match[2] ?? ''] ?? 0);
  return Number.isSafeInteger(Math.round(total)) ? Math.round(total) : null;
}

/** `0.25 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  if (ms < 10_000) return `${Number((ms / 1000).toFixed(2))} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}
