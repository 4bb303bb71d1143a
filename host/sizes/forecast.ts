import type { HistoryEntry } from '../state/history.ts';

const dayMs = 86_400_000;
/** Two trims within an hour say nothing about a day. */
const leastSpanMs = 3_600_000;

/**
 * How many bytes a day each domain's images grew between its trims: what one trim left behind to what the next one found.
 * Domains with less than an hour of history are missing. Negative growth (a guest that shrank otherwise) counts as none.
 * @returns by UUID.
 */
export function growthPerDay(entries: readonly HistoryEntry[]): Map<string, number> {
  const byDomain = new Map<string, HistoryEntry[]>();
  for (const entry of entries) {
    if (entry.beforeBytes === null || entry.afterBytes === null) continue;
    byDomain.set(entry.uuid, [...(byDomain.get(entry.uuid) ?? []), entry]);
  }
  const growth = new Map<string, number>();
  for (const [uuid, all] of byDomain) {
    const trims = all.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
    let grownBytes = 0;
    let spanMs = 0;
    for (const [index, later] of trims.entries()) {
      const earlier = trims[index - 1];
      if (earlier === undefined) continue;
      grownBytes += Math.max(0, (later.beforeBytes ?? 0) - (earlier.afterBytes ?? 0));
      spanMs += Date.parse(later.at) - Date.parse(earlier.at);
    }
    if (spanMs >= leastSpanMs) growth.set(uuid, (grownBytes * dayMs) / spanMs);
  }
  return growth;
}

/** When the free bytes are gone at that rate; null for never, or too far away to mean anything (ten years). */
export function fullAt(freeBytes: number, bytesPerDay: number, now: Date): string | null {
  if (bytesPerDay <= 0) return null;
  const days = freeBytes / bytesPerDay;
  return days > 3650 ? null : new Date(now.getTime() + days * dayMs).toISOString();
}
