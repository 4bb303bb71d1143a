import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentClient } from '../agent/client.ts';
import { probeAgent, type AgentFacts } from '../agent/probe.ts';
import type { Connection } from '../libvirt/connection.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import { closeWindow, freezeWindow, participate, prepareWindow } from '../quiesce/window.ts';
import { trimDomain } from '../trim/trim-domain.ts';
import { AppError } from '../../shared/errors.ts';
import type { Proof } from './schema.ts';

const pollMs = 500;
const probeTimeoutSeconds = 10;
/** Long enough for a freeze under software emulation; the freeze itself takes milliseconds. */
const leaseSeconds = 30;
const thawWaitMs = 60_000;

export interface ProveOptions {
  readonly connection: Connection;
  readonly client: AgentClient;
  readonly ref: DomainRef;
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
  readonly warn: (text: string) => void;
}

/**
 * Waits until somebody in the guest has opened the port, by the live XML, and answers.
 * @throws AppError `agent-disconnected`, `agent-silent` when the time is over.
 */
export async function awaitAgent(options: ProveOptions, timeoutSeconds: number): Promise<AgentFacts> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  let last: AppError | null = null;
  for (;;) {
    const xml = await options.connection.run(['dumpxml', options.ref.uuid], { signal: options.signal });
    const { id, channel } = parseDomainXml(xml);
    if (id === null) throw new AppError('domain-not-running', `${options.ref.name}: was switched off while its agent was waited for`);
    if (channel === 'connected') {
      const probe = await probeAgent(options.connection, options.client, options.ref.uuid, {
        timeoutSeconds: probeTimeoutSeconds,
        signal: options.signal,
      });
      if (probe.ok) return probe.facts;
      last = probe.error;
    }
    if (performance.now() > deadline) {
      if (last !== null) throw last;
      const words = `no agent has opened its port within ${timeoutSeconds} s; look at its service on the guest's console`;
      throw new AppError('agent-disconnected', `${options.ref.name}: ${words}`);
    }
    await sleep(pollMs, undefined, { signal: options.signal });
  }
}

/** Waits until nobody in the guest holds the port open. @throws AppError `agent-silent` when the time is over. */
export async function awaitGone(options: ProveOptions, timeoutSeconds: number): Promise<void> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  for (;;) {
    const { channel } = parseDomainXml(await options.connection.run(['dumpxml', options.ref.uuid], { signal: options.signal }));
    if (channel !== 'connected') return;
    if (performance.now() > deadline)
      throw new AppError(
        'agent-silent',
        `${options.ref.name}: after ${timeoutSeconds} s the agent still holds its port; was the line typed?`,
      );
    await sleep(pollMs, undefined, { signal: options.signal });
  }
}

/** Where SELinux keeps qemu-ga from opening what it shall freeze, it answers with the kernel's word for it (qemu-ga's SELinux policy). */
export function freezeHint(reason: string): string {
  if (!/Permission denied/i.test(reason)) return reason;
  return `${reason}; on a guest with SELinux run there: setsebool -P virt_qemu_ga_read_nonsecurity_files on`;
}

/** Freezes and thaws under a lease with its guard, as `quiesce` does. @throws AppError why it could not. */
async function freezeAndThaw(options: ProveOptions): Promise<{ frozenCount: number; thawedCount: number; frozenMs: number }> {
  const participant = participate(options.connection, options.ref, {
    stateDirectory: options.stateDirectory,
    leaseSeconds,
    mountpoints: null,
    force: false,
    windows: false,
    caller: 'agent install',
    peers: [],
    warn: options.warn,
    require: 'crash',
  });
  try {
    if (await prepareWindow([participant])) await freezeWindow([participant]);
  } finally {
    await closeWindow([participant], thawWaitMs);
  }
  const { result } = participant;
  if (result.status === 'maybe-frozen') throw new AppError('agent-frozen', result.reason ?? 'it may still be frozen');
  if (result.status !== 'ok') throw new AppError('agent-error', `the freeze did not work: ${freezeHint(result.reason ?? result.status)}`);
  return { frozenCount: result.frozenCount ?? 0, thawedCount: result.thawedCount ?? 0, frozenMs: result.frozenMs ?? 0 };
}

/**
 * What an install ends with: a freeze that thaws as many file systems as it froze, and a trim's dry run.
 * A trim that cannot reach the host is told, and is no fault of the agent's. @throws AppError where the agent does not do its work.
 */
export async function proveAgent(options: ProveOptions, facts: AgentFacts): Promise<Proof> {
  // VSS on Windows can truncate the logs of databases: that freeze is the administrator's to order.
  const window = facts.isWindows ? { frozenCount: 0, thawedCount: 0, frozenMs: 0 } : await freezeAndThaw(options);
  if (window.thawedCount < window.frozenCount)
    throw new AppError('agent-error', `the agent froze ${window.frozenCount} file systems and thawed only ${window.thawedCount}`);
  const { result } = await trimDomain(options.connection, options.client, options.ref, {
    minimumBytes: null,
    timeoutSeconds: null,
    excludeDisks: [],
    force: false,
    dryRun: true,
    signal: options.signal,
  });
  const trim = result.status === 'ok' ? 'ok' : result.status === 'skipped' ? 'skipped' : 'failed';
  if (trim === 'failed') throw new AppError('agent-error', `the trim check failed: ${result.reason ?? result.code ?? ''}`);
  return { kind: facts.kind, version: facts.info.version, ...window, trim, trimReason: trim === 'ok' ? null : result.reason };
}
