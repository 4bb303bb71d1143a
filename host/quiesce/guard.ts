import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../shared/errors.ts';
import { classifyStderr, stderrWords } from '../libvirt/classify.ts';
import { runTool, spawnTool } from '../process.ts';
import { isAlive, type ProcessIdentity } from './boot-clock.ts';
import { readGuard, readGuardFailure, readLease, writeUnit } from './lease-files.ts';
import type { LeaseRecord } from './lease-record.ts';

/** How a lease is guarded, as results tell it. */
export type GuardInfo = { readonly kind: 'detached'; readonly pid: number } | { readonly kind: 'systemd'; readonly unit: string };

const programName = 'guard.sh';
const pollMs = 4;
const confirmMs = 20_000;
/** A guard ends at once when it sleeps; one that calls the guest finishes that call. */
const stopMs = 90_000;

/** The guard's text: beside the sources, or in `dist/quiesce` behind the bundle's `dist/*.js` and `dist/chunks/*.js`. */
export function readGuardProgram(): string {
  for (const folder of ['./', './quiesce/', '../quiesce/']) {
    const file = fileURLToPath(new URL(folder + programName, import.meta.url));
    if (existsSync(file)) return readFileSync(file, 'utf8');
  }
  throw new AppError('internal', `${programName}: not part of this installation; build it with: npm run build`);
}

/** sd_booted(3). Only root's manager survives a logout for certain. */
export function systemdRuns(): boolean {
  return process.getuid?.() === 0 && existsSync('/run/systemd/system');
}

/** What virsh needs of our environment to reach the daemon as we do (virsh(1), ENVIRONMENT; ssh(1)). */
function connectionEnvironment(): string[] {
  const wanted = /^(PATH|HOME|USER|LOGNAME|SSH_AUTH_SOCK|KRB5CCNAME|XDG_RUNTIME_DIR|XDG_CONFIG_HOME|LIBVIRT_.*|VIRSH_.*)$/;
  return Object.entries(process.env).flatMap(([name, value]) =>
    wanted.test(name) && value !== undefined ? [`--setenv=${name}=${value}`] : [],
  );
}

function startDetached(directory: string, number: 1 | 2): void {
  const log = { file: path.join(directory, 'guard.log') };
  const child = spawnTool('sh', [path.join(directory, programName), 'run', directory, String(number)], {
    cwd: '/',
    stdio: ['ignore', log, log],
  });
  child.unref();
}

/**
 * The guard under systemd: a service that is started at once, and again whenever it fails, and a timer that starts it at the deadline should
 * it have been stopped (systemd-run(1), systemd.service(5)). KillMode=process: a virsh in hand is never killed, it would keep the agent's lock.
 */
export function guardUnitArguments(
  directory: string,
  record: Pick<LeaseRecord, 'id' | 'uuid' | 'leaseSeconds'>,
  environment: readonly string[],
): string[] {
  const properties = ['Restart=on-failure', 'RestartSec=200ms', 'StartLimitIntervalSec=0', 'KillMode=process'];
  return [
    '--quiet',
    `--unit=${guardUnit(record)}`,
    `--description=virt-trim: thaws ${record.uuid} when its lease runs out`,
    `--on-active=${record.leaseSeconds + 1}s`,
    '--timer-property=AccuracySec=100ms',
    ...properties.map((each) => `--property=${each}`),
    ...environment,
    '/bin/sh',
    path.join(directory, programName),
    'run',
    directory,
    '1',
  ];
}

function guardUnit(record: Pick<LeaseRecord, 'id'>): string {
  return `virt-trim-guard-${record.id}`;
}

async function startUnder(directory: string, record: LeaseRecord): Promise<string> {
  const unit = guardUnit(record);
  const made = await runTool('systemd-run', guardUnitArguments(directory, record, connectionEnvironment()), { timeoutMs: 10_000 });
  if (made.exitCode !== 0) throw new AppError('tool-failed', `systemd-run: ${stderrWords(made.stderr)}`);
  writeUnit(directory, unit);
  const started = await runTool('systemctl', ['start', `${unit}.service`], { timeoutMs: 10_000 });
  if (started.exitCode !== 0) throw new AppError('tool-failed', `systemctl start ${unit}: ${stderrWords(started.stderr)}`);
  return unit;
}

/**
 * Starts a lease's guard and waits until it has asked the guest for its status by itself.
 * @returns how it runs, and that answer.
 * @throws AppError what virsh said to the guard; `tool-timeout` where it said nothing; `tool-missing`, `tool-failed`.
 */
export async function armGuard(directory: string, record: LeaseRecord): Promise<{ info: GuardInfo; status: 'thawed' | 'frozen' }> {
  const unit = systemdRuns() ? await startUnder(directory, record) : null;
  if (unit === null) {
    startDetached(directory, 1);
    startDetached(directory, 2);
  }
  const until = performance.now() + confirmMs;
  while (performance.now() < until) {
    const guard = await readGuard(directory, 1);
    const second = unit !== null || (await readGuard(directory, 2)) !== null;
    if (guard !== null && second && (guard.answer === 'thawed' || guard.answer === 'frozen')) {
      const info: GuardInfo = unit === null ? { kind: 'detached', pid: guard.identity.pid } : { kind: 'systemd', unit };
      return { info, status: guard.answer };
    }
    const failure = await readGuardFailure(directory);
    if (failure?.endsWith('\n') === true) {
      throw new AppError(
        classifyStderr(failure),
        `the guard cannot reach the guest's agent, so nothing was frozen: ${stderrWords(failure)}`,
      );
    }
    await sleep(pollMs);
  }
  throw new AppError('tool-timeout', `the guard was not ready within ${confirmMs / 1000} s, so nothing was frozen`, {
    context: { directory },
  });
}

function signalGuard(guard: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(guard)) return;
  try {
    process.kill(guard.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Makes a sleeping guard look at its lease now; starts one where all have died. */
export async function wakeGuard(directory: string): Promise<void> {
  const lease = await readLease(directory);
  if (lease === null) return;
  for (const guard of lease.guards) signalGuard(guard, 'SIGUSR1');
  if (lease.guards.length === 0) startDetached(directory, 1);
}

/**
 * Ends the guards of a lease, each after the call it may have in hand. The lease's phase must allow them to go: they watch each other.
 * @throws AppError `tool-timeout` where one stays.
 */
export async function stopGuard(directory: string): Promise<void> {
  const until = performance.now() + stopMs;
  let unit: string | null = null;
  let pauseMs = pollMs;
  while (performance.now() < until) {
    const lease = await readLease(directory);
    if (lease === null) return;
    if (lease.unit !== null && unit === null) {
      ({ unit } = lease);
      await runTool('systemctl', ['stop', `${unit}.timer`, `${unit}.service`], { timeoutMs: stopMs });
      continue;
    }
    if (lease.guards.length === 0) return;
    for (const guard of lease.guards) signalGuard(guard, 'SIGTERM');
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, 200);
  }
  throw new AppError('tool-timeout', `${directory}: the guard did not end; the guest is thawed`, { context: { directory } });
}

/** How long a guard may hold the lock: two calls, each with libvirt's own waiting times. */
const lockMs = 100_000;

async function runVerb(directory: string, verb: 'claim' | 'renew', argument: string): Promise<'done' | 'refused' | 'gone'> {
  const result = await runTool('sh', [path.join(directory, programName), verb, directory, argument], { timeoutMs: lockMs });
  if (result.exitCode === 0) return 'done';
  return result.exitCode === 75 ? 'refused' : 'gone';
}

/** Makes this process the lease's owner. `refused`: another living process is; `gone`: the lease has ended. */
export async function claimLease(directory: string): Promise<'done' | 'refused' | 'gone'> {
  return runVerb(directory, 'claim', String(process.pid));
}

/** Sets another deadline. `refused`: the old one has passed. */
export async function renewLease(directory: string, deadlineCentis: number): Promise<'done' | 'refused' | 'gone'> {
  return runVerb(directory, 'renew', String(deadlineCentis));
}
