import type { Logger } from 'pino';
import type { AgentFacts } from '../agent/probe.ts';
import { isTrimmable } from '../doctor/subject.ts';
import { blockOf } from '../libvirt/domain-stats.ts';
import type { Domain } from '../libvirt/domains.ts';
import { appendHistory, lastTrims, readHistory } from '../state/history.ts';
import { usedBytesPerDisk } from '../trim/guest-usage.ts';
import { toHistory, totalBytes } from '../trim/history-entry.ts';
import type { TrimResult } from '../trim/schema.ts';
import { trimDomain } from '../trim/trim-domain.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/units.ts';
import type { ServiceMemory } from './memory.ts';
import { isConnectionCode } from './hypervisor.ts';
import type { Planned } from './planner.ts';
import { askSelfTrim, explainSelfTrim } from './self-trim.ts';
import type { AttemptEnd, RunReason } from './target.ts';

export interface RunnerParts {
  readonly stateDirectory: string;
  readonly memory: ServiceMemory;
  readonly log: Logger;
  /** Fires when nobody waits for running trims any more. */
  readonly signal: AbortSignal;
}

const minuteMs = 60_000;
/** From this much on, the first trim of a guest is worth a word. */
const largeBacklogBytes = 20 * 1024 ** 3;
const quickCall = { timeoutSeconds: 5 };

/** Which ends ask for another attempt: what is over in a while, and a hypervisor that went away. Everything else waits for its next time. */
export function attemptEnd(result: Pick<TrimResult, 'status' | 'code' | 'reason'>): AttemptEnd {
  const code = result.code ?? '';
  const why = result.reason ?? code;
  if (result.status === 'ok') return { again: null };
  if (isConnectionCode(code)) return { again: { why, afterMs: minuteMs, attempts: Infinity } };
  if (['job-active', 'migrating', 'domain-lock', 'agent-lock'].includes(code))
    return { again: { why, afterMs: 10 * minuteMs, attempts: 6 } };
  // A guest that is still booting.
  if (code === 'agent-disconnected') return { again: { why, afterMs: 10 * minuteMs, attempts: 2 } };
  return { again: null };
}

/** Does what is due to a domain: trims it, writes it down, and tells what an administrator should know. */
export class Runner {
  readonly #parts: RunnerParts;
  /** Guests whose guest-fstrim was sent and not answered. */
  readonly #trimming = new Set<string>();
  readonly #afterwards = new Set<Promise<void>>();
  #history: Promise<Set<string>> | undefined;
  readonly counts = { ok: 0, skipped: 0, failed: 0, unverified: 0, reclaimedBytes: 0 };

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  get trimming(): string[] {
    return [...this.#trimming];
  }

  /** @throws AppError `interrupted`, `internal`. */
  async trim(planned: Planned, run: { readonly reason: RunReason; readonly due: number; readonly waitedMs: number }): Promise<AttemptEnd> {
    const { hypervisor, domain, policy, target } = planned;
    const { signal } = this.#parts;
    const minimum = policy?.minimumBytes.value ?? 0;
    let facts: AgentFacts | null = null;
    const isFirst = !(await this.#trimmedBefore()).has(domain.uuid);
    const { result, neutral } = await trimDomain(hypervisor.connection, hypervisor.client, domain, {
      minimumBytes: minimum === 0 ? null : minimum,
      timeoutSeconds: policy?.timeoutSeconds.value ?? null,
      excludeDisks: policy?.excludeDisks.value ?? [],
      force: false,
      dryRun: false,
      signal,
      onProbed: (probed, agent) => {
        facts = agent;
        if (isFirst) this.#sayBacklog(target.key, probed, agent);
      },
      onTrimming: () => this.#trimming.add(domain.name),
      onTrimmed: () => this.#trimming.delete(domain.name),
    });
    this.#trimming.delete(domain.name);
    if (isConnectionCode(result.code)) hypervisor.fault(new AppError(result.code, result.reason ?? result.code));
    if (result.status === 'ok') (await this.#trimmedBefore()).add(domain.uuid);
    this.#report(planned, result, neutral, run);
    await this.#keep(hypervisor.connection.uri.text, result);
    if (facts !== null && result.status === 'ok') this.#after(this.#sayIfSelfTrimming(planned, facts));
    return attemptEnd(result);
  }

  /** Read once: a history of years takes a while. */
  async #trimmedBefore(): Promise<Set<string>> {
    this.#history ??= readHistory(this.#parts.stateDirectory).then((entries) => new Set(lastTrims(entries).keys()));
    return this.#history;
  }

  /** When nothing is asked of guests any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#afterwards);
  }

  /** One line for each run, with its figures: MESSAGE and key=value in the journal, members in JSON (docs/daemon.md). */
  #report({ target }: Planned, result: TrimResult, neutral: boolean, run: { reason: RunReason; due: number; waitedMs: number }): void {
    const reclaimedBytes = totalBytes(result, (disk) => disk.reclaimedBytes);
    this.counts[result.status] += 1;
    this.counts.reclaimedBytes += reclaimedBytes ?? 0;
    const line = {
      event: 'trim',
      domain: result.name,
      uuid: result.uuid,
      hypervisor: target.hypervisor,
      backends: target.backends,
      status: result.status,
      code: result.code,
      reason: result.reason,
      beforeBytes: totalBytes(result, (disk) => disk.beforeBytes),
      afterBytes: totalBytes(result, (disk) => disk.afterBytes),
      reclaimedBytes,
      seconds: result.wallMs / 1000,
      waitedSeconds: run.waitedMs / 1000,
      why: run.reason,
      due: new Date(run.due).toISOString(),
    };
    if (result.status === 'ok') this.#parts.log.info(line, 'trimmed');
    else if (neutral) this.#parts.log.info(line, 'not trimmed');
    else this.#parts.log.warn(line, result.status === 'unverified' ? 'trimmed, but not verified' : 'not trimmed');
  }

  async #keep(uri: string, result: TrimResult): Promise<void> {
    const failed = await appendHistory(this.#parts.stateDirectory, toHistory(uri, result)).then(() => null, toAppError);
    if (failed !== null) this.#parts.log.warn({ domain: result.name }, failed.message);
  }

  /** The first trim of a guest may have years of freed blocks before it. Our own agent works in pieces; qemu-ga cannot. */
  #sayBacklog(key: string, domain: Domain, facts: AgentFacts): void {
    const disks = domain.disks.filter(isTrimmable);
    const used = usedBytesPerDisk(disks, facts.filesystems);
    const backlog = disks.reduce((total, { target }) => {
      const allocated = blockOf(domain.stats, target)?.physical ?? null;
      const bytes = used.get(target) ?? null;
      return allocated === null || bytes === null ? total : total + Math.max(0, allocated - bytes);
    }, 0);
    if (backlog < largeBacklogBytes || !this.#parts.memory.tellOnce(key, 'backlog')) return;
    const how =
      facts.kind === 'virt-trim'
        ? 'its agent trims in pieces of 8 GiB (ext4, vfat, f2fs) and answers in between'
        : 'qemu-ga cannot trim in steps, so all of it comes in one go; other agent calls wait until then';
    this.#parts.log.info(
      { event: 'backlog', domain: domain.name, bytes: backlog },
      `first trim, about ${formatBytes(backlog)} to give back: ${how}`,
    );
  }

  async #sayIfSelfTrimming({ target, hypervisor }: Planned, facts: AgentFacts): Promise<void> {
    const { memory, log, signal } = this.#parts;
    if (memory.wasTold(target.key, 'self-trim')) return;
    const found = await askSelfTrim(hypervisor.client, target.uuid, facts, { ...quickCall, signal });
    const words = found === null ? null : explainSelfTrim(found);
    if (words !== null && memory.tellOnce(target.key, 'self-trim')) log.warn({ event: 'self-trim', domain: target.name }, words);
  }

  #after(work: Promise<void>): void {
    const task: Promise<void> = work
      .catch((thrown: unknown) => {
        const error = toAppError(thrown);
        if (error.code !== 'interrupted') this.#parts.log.error({ code: error.code }, error.message);
      })
      .finally(() => this.#afterwards.delete(task));
    this.#afterwards.add(task);
  }
}
