import { AppError } from '../../../shared/errors.ts';
import type { Connection, RunOptions } from '../../libvirt/connection.ts';
import { parseDomainXml } from '../../libvirt/domain-xml.ts';
import { findDomain, isUnreadable, listDomains, readDomains, type Domain } from '../../libvirt/domains.ts';
import { diagnose } from '../diagnose.ts';
import { gatherFacts } from '../gather/gather.ts';
import { isSameXml } from './canonical.ts';
import { checkMayChange, readConfiguration, replaceConfiguration } from './configuration.ts';
import { diffXml } from './diff.ts';
import { editXml } from './edit-xml.ts';
import { planFix, type FixPlan, type PlanOptions } from './plan.ts';
import { readRecords, recordId, writeRecord, type FixRecord } from './records.ts';

/** A change that has been thought through and not been made. */
export interface PreparedFix {
  readonly domain: Domain;
  readonly plan: FixPlan;
  readonly before: string;
  readonly after: string;
  readonly diff: readonly string[];
  readonly warnings: readonly string[];
}

export interface FixContext {
  readonly connection: Connection;
  readonly stateDirectory: string;
  readonly run: RunOptions;
}

/** @throws AppError `domain-unknown`, `domain-ambiguous`, and what reading it throws. */
export async function readOneDomain({ connection, run }: FixContext, name: string): Promise<Domain> {
  const ref = await findDomain(connection, name, await listDomains(connection, run), run);
  const [domain] = await readDomains(connection, [ref], run);
  if (domain === undefined) throw new AppError('internal', `${name}: was not read`);
  if (isUnreadable(domain)) throw domain.error;
  return domain;
}

/** Finds out what there is to change. Changes nothing. @throws AppError `refused`, `busy`, and what virsh says. */
export async function prepareFix(context: FixContext, name: string, options: PlanOptions): Promise<PreparedFix> {
  const { connection, run } = context;
  const domain = await readOneDomain(context, name);
  const warnings = await checkMayChange(connection, domain, run);
  const before = await readConfiguration(connection, domain.uuid, run);
  const { host, cases } = await gatherFacts(connection, [domain], { askAgents: true, probeStorage: false, signal: run.signal });
  const complaints = new Map<string, Set<string>>();
  for (const finding of cases.flatMap((one) => diagnose(one).findings)) {
    if (finding.disk === null || finding.verdict === 'ok') continue;
    complaints.set(finding.disk, (complaints.get(finding.disk) ?? new Set()).add(finding.rule));
  }
  const configured = parseDomainXml(before);
  const machineTypes = host.machineTypes.get(configured.arch ?? '') ?? [];
  const plan = planFix({ configured, libvirt: host.libvirt, qemu: host.qemu, machineTypes, complaints }, options);
  const after = editXml(
    before,
    plan.changes.map((change) => change.edit),
  );
  return {
    domain,
    plan,
    before,
    after,
    diff: diffXml(before, after),
    warnings: [...warnings, ...plan.changes.flatMap((change) => change.warnings)],
  };
}

/** Makes the change; the old XML is on the disk before libvirt hears of it. @throws AppError as `replaceConfiguration`. */
export async function applyFix(context: FixContext, prepared: PreparedFix): Promise<FixRecord> {
  const { domain, plan, before, after } = prepared;
  const at = new Date();
  const record: FixRecord = {
    v: 1,
    id: recordId(at),
    at: at.toISOString(),
    uri: context.connection.uri.text,
    uuid: domain.uuid,
    name: domain.name,
    rules: [...new Set(plan.changes.map((change) => change.rule))],
    changes: plan.changes.map((change) => change.what),
    phase: 'prepared',
    before,
    after,
  };
  await writeRecord(context.stateDirectory, record);
  await replace(context, record, before, after);
  const applied: FixRecord = { ...record, phase: 'applied' };
  await writeRecord(context.stateDirectory, applied);
  return applied;
}

/**
 * The newest change that can be undone. A record that says `prepared` stems from a run that was interrupted: it counts if its XML is there.
 * @throws AppError `refused` where there is none.
 */
export async function findRevertable(context: FixContext, domain: Domain): Promise<FixRecord> {
  const open = (await readRecords(context.stateDirectory, domain.uuid)).filter((record) => record.phase !== 'reverted').toReversed();
  const now = open.length === 0 ? '' : await readConfiguration(context.connection, domain.uuid, context.run);
  const found = open.find((record) => isSameXml(record.after, now)) ?? open.find((record) => record.phase === 'applied');
  if (found === undefined) {
    throw new AppError(
      'refused',
      `${domain.name}: virt-trim changed nothing here that could be undone (looked in ${context.stateDirectory})`,
    );
  }
  return found;
}

/** Puts the XML from before a change back. @throws AppError `busy` where it was changed again since, and as `replaceConfiguration`. */
export async function revertFix(context: FixContext, record: FixRecord): Promise<FixRecord> {
  await replace(context, record, record.after, record.before);
  const reverted: FixRecord = { ...record, phase: 'reverted' };
  await writeRecord(context.stateDirectory, reverted);
  return reverted;
}

async function replace(context: FixContext, record: FixRecord, expected: string, wanted: string): Promise<void> {
  const { stateDirectory, connection, run } = context;
  const { uuid, name, id } = record;
  await replaceConfiguration(connection, { uuid, name, expected, wanted, id, stateDirectory }, run);
}
