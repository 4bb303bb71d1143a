import { AppError } from '../../shared/errors.ts';

/** @throws AppError `usage`. */
export function readScheduleOptions(words: readonly string[], raw: { readonly next?: string }): { words: readonly string[]; next: number } {
  const next = raw.next === undefined ? 1 : /^\d{1,4}$/.test(raw.next) ? Number(raw.next) : 0;
  if (next < 1) {
    throw new AppError('usage', `--next '${raw.next ?? ''}': expected a whole number from 1 to 9999`, { context: { option: '--next' } });
  }
  return { words, next };
}
