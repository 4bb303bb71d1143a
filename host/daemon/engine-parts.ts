import type { Clock } from '../schedule/clock.ts';
import type { TrimQueue } from '../trim/queue.ts';
import type { ServiceMemory } from './memory.ts';
import type { AttemptEnd, EngineEvent, RunReason, Target } from './target.ts';

/** What an {@link Engine} works with: time, memory, and what it does to a domain. */
export interface EngineParts {
  readonly clock: Clock;
  readonly queue: TrimQueue;
  readonly memory: ServiceMemory;
  /** Whether missed runs are spread over a window that begins now, or begun at once (and still one after the other, within the limits). */
  readonly spreadMissed: boolean;
  /** Reads the domain again before it takes a place: its policy, its disks. A string says why it cannot be read now. */
  readonly prepare: (target: Target, signal: AbortSignal) => Promise<Target | string>;
  /** Asked again when it has its place: a string says why the hypervisor cannot be reached any more. */
  readonly obstacle: (target: Target) => string | null;
  /** Does the work. Never rejects but for `interrupted` and `internal`. */
  readonly trim: (
    target: Target,
    run: { readonly reason: RunReason; readonly due: number; readonly waitedMs: number },
  ) => Promise<AttemptEnd>;
  readonly tell: (event: EngineEvent) => void;
  /** Something went wrong that no code of ours foresaw. */
  readonly fail: (error: unknown) => void;
}
