import type { Config } from '../policy/config.ts';
import type { QueueLimits } from '../trim/queue.ts';

export const defaultLimits = { perHypervisor: 4, perBackend: 2, ioPressure: 50 } as const;
/** More than this at once no machine needs. */
const totalAtOnce = 1000;

export function limitsOf({ limits }: Config): QueueLimits {
  return {
    total: totalAtOnce,
    perHypervisor: limits.perHypervisor?.value ?? defaultLimits.perHypervisor,
    perBackend: limits.perBackend?.value ?? defaultLimits.perBackend,
  };
}

/** The connections to serve: `-c`, then the configuration, then libvirt's default. */
export function urisOf(given: readonly string[], config: Config): readonly string[] {
  if (given.length > 0) return [...new Set(given)];
  return config.connections === null ? [''] : [...new Set(config.connections.value)];
}
