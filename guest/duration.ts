const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `90`, `90s`, `15m`, `3h`, `1d` in seconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const unit = units[text.slice(-1)];
  const digits = unit === undefined ? text : text.slice(0, -1);
  const number = digits === '' ? Number.NaN : Number(digits);
  return Number.isSafeInteger(number) && number >= 0 && !digits.includes('e') ? number * (unit ?? 1) : undefined;
}
