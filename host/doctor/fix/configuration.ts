import { AppError } from '../../../shared/errors.ts';
import type { Connection, RunOptions } from '../../libvirt/connection.ts';
import type { Domain } from '../../libvirt/domains.ts';
import { readJob } from '../../libvirt/jobs.ts';
import { removeDurably, writeDurably } from '../../state/durable.ts';
import { changedLines } from './diff.ts';
import { isSameXml } from './canonical.ts';
import { definitionFile } from './records.ts';

/** The configuration as libvirt keeps it, with its secrets: without them a define would drop the passwords. */
export async function readConfiguration(connection: Connection, uuid: string, options: RunOptions): Promise<string> {
  return connection.run(['dumpxml', '--inactive', '--security-info', uuid], options);
}

/**
 * Whether a domain's configuration may be rewritten now. @returns warnings.
 * @throws AppError `refused` (a manager owns it, transient), `busy` (a job).
 */
export async function checkMayChange(connection: Connection, domain: Domain, options: RunOptions): Promise<string[]> {
  if (domain.manager !== null) {
    throw new AppError('refused', `${domain.name}: ${domain.manager} owns this domain and would undo a change; set it there`);
  }
  const [info] = await connection.runAll([['dominfo', domain.uuid]], options);
  if (info === undefined || !info.ok) throw info?.error ?? new AppError('internal', 'virsh dominfo gave no answer');
  if (/^Persistent:\s+no/m.test(info.stdout)) {
    throw new AppError('refused', `${domain.name}: is transient: there is no configuration that a next start would use`);
  }
  if (domain.id !== null) {
    const job = await readJob(connection, domain.uuid, domain.disks, options);
    if (job !== null) throw new AppError('busy', `${domain.name}: a job is active: ${job.detail}; try again when it has ended`);
  }
  return /^Managed save:\s+yes/m.test(info.stdout)
    ? [`${domain.name} has a saved state: the next start goes on with the old configuration, unless 'virsh managedsave-remove' drops it`]
    : [];
}

export interface Replacement {
  readonly uuid: string;
  readonly name: string;
  /** What the configuration has to be at this moment. */
  readonly expected: string;
  readonly wanted: string;
  readonly id: string;
  readonly stateDirectory: string;
}

/**
 * Replaces a domain's configuration and proves it: nothing may have changed it since it was read, and what libvirt made of ours must be
 * what was announced, or the old one is put back. Between the last look and the define a few milliseconds remain.
 * @throws AppError `busy` (changed under us), `refused` (would differ in something not announced), what virsh says.
 */
export async function replaceConfiguration(connection: Connection, step: Replacement, options: RunOptions): Promise<void> {
  const now = await readConfiguration(connection, step.uuid, options);
  if (!isSameXml(now, step.expected)) {
    const lines = changedLines(step.expected, now).join('\n');
    throw new AppError('busy', `${step.name}: its XML was changed by somebody else in the meantime; nothing was done:\n${lines}`);
  }
  await define(connection, step, step.wanted, options);
  const result = await readConfiguration(connection, step.uuid, options);
  if (isSameXml(result, step.wanted)) return;
  await define(connection, step, step.expected, options);
  const lines = changedLines(step.wanted, result).join('\n');
  const restored = isSameXml(await readConfiguration(connection, step.uuid, options), step.expected);
  const after = restored
    ? 'the old configuration is back'
    : "and the old configuration could not be restored exactly: see 'virt-trim fix --revert'";
  throw new AppError('refused', `${step.name}: libvirt would make more or less of it than was announced; ${after}:\n${lines}`);
}

async function define(connection: Connection, step: Replacement, xml: string, options: RunOptions): Promise<void> {
  const file = await definitionFile(step.stateDirectory, step.uuid, step.id);
  await writeDurably(file, xml);
  try {
    await connection.run(['define', file], options);
  } finally {
    await removeDurably(file);
  }
}
