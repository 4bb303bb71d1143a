import { DOMImplementation, XMLSerializer } from '@xmldom/xmldom';
import { AppError } from '../../shared/errors.ts';
import type { Connection, RunOptions } from '../libvirt/connection.ts';
import { metadataNamespace, parseDomainXml } from '../libvirt/domain-xml.ts';
import type { Domain } from '../libvirt/domains.ts';
import { policyElement } from './effective.ts';
import { settingKeys, settingProblem, settingsShape, type SettingKey } from './settings.ts';

/** Beside the lease's: libvirt keeps one element for each namespace. */
export const policyNamespace = `${metadataNamespace}/policy`;
const prefix = 'virt-trim-policy';

export type WrittenPolicy = Readonly<Record<string, string>>;

/** Reads `key=value` words. @throws AppError `usage` for an unknown key or a bad value. */
export function readAssignments(words: readonly string[]): WrittenPolicy {
  const values: Record<string, string> = {};
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals <= 0) throw new AppError('usage', `'${word}': expected KEY=VALUE, with one of ${settingKeys.join(', ')}`);
    const key = readKey(word.slice(0, equals));
    const value = word.slice(equals + 1);
    const parsed = settingsShape[key].safeParse(value);
    if (!parsed.success) throw new AppError('usage', settingProblem(key, parsed.error));
    values[key] = value;
  }
  return values;
}

/** @throws AppError `usage`. */
export function readKey(text: string): SettingKey {
  const key = settingKeys.find((one) => one === text);
  if (key === undefined) throw new AppError('usage', `unknown setting '${text}'; there are ${settingKeys.join(', ')}`);
  return key;
}

function formatPolicy(policy: WrittenPolicy): string {
  const document = new DOMImplementation().createDocument(null, policyElement);
  for (const [key, value] of Object.entries(policy)) document.documentElement?.setAttribute(key, value);
  return new XMLSerializer().serializeToString(document);
}

/** The virsh command that writes a policy; an empty one is removed. */
export function policyCommand(uuid: string, policy: WrittenPolicy, scope: readonly string[]): string[] {
  return Object.keys(policy).length === 0
    ? ['metadata', uuid, policyNamespace, '--remove', ...scope]
    : ['metadata', uuid, policyNamespace, '--key', prefix, '--set', formatPolicy(policy), ...scope];
}

/**
 * Changes a domain's own settings, where it runs live and in the configuration alike, and reads them back.
 * @throws AppError `refused` for a manager's domain, `tool-failed` where libvirt kept something else.
 */
export async function changePolicy(
  connection: Connection,
  domain: Domain,
  change: (policy: WrittenPolicy) => WrittenPolicy,
  options: RunOptions,
): Promise<WrittenPolicy> {
  if (domain.manager !== null) {
    throw new AppError(
      'refused',
      `${domain.name}: ${domain.manager} owns this domain's XML; set it in /etc/virt-trim/config.yaml, under domains: match: '${domain.name}'`,
    );
  }
  const [info, configured] = await connection.runAll(
    [
      ['dominfo', domain.uuid],
      ['dumpxml', '--inactive', domain.uuid],
    ],
    options,
  );
  if (info === undefined || !info.ok) throw info?.error ?? new AppError('internal', 'virsh dominfo gave no answer');
  const persistent = !/^Persistent:\s+no/m.test(info.stdout);
  const scope = [...(domain.id === null ? [] : ['--live']), ...(persistent ? ['--config'] : [])];
  const source = persistent && configured?.ok === true ? parseDomainXml(configured.stdout) : domain;
  const before = source.metadata[policyElement] ?? {};
  const after = change(before);
  if (Object.keys(after).length > 0 || Object.keys(before).length > 0) {
    await connection.run(policyCommand(domain.uuid, after, scope), options);
  }
  await checkKept(connection, domain.uuid, after, options);
  return after;
}

async function checkKept(connection: Connection, uuid: string, wanted: WrittenPolicy, options: RunOptions): Promise<void> {
  const kept = parseDomainXml(await connection.run(['dumpxml', uuid], options)).metadata[policyElement] ?? {};
  const same = Object.keys({ ...kept, ...wanted }).every((key) => kept[key] === wanted[key]);
  if (!same) throw new AppError('tool-failed', `libvirt kept other settings than were written: ${JSON.stringify(kept)}`);
}
