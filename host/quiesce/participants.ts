import { AppError } from '../../shared/errors.ts';
import type { CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, type Domain } from '../libvirt/domains.ts';
import { loadConfig } from '../policy/config.ts';
import { stateDirectory } from '../state/directory.ts';
import { selectDomains } from '../trim/select.ts';
import { windowsLeaseSeconds } from './eligibility.ts';
import type { WindowOptions } from './options.ts';
import { recoverFirst } from './recover-first.ts';
import { participate, type Participant } from './window.ts';

export interface Participants {
  readonly connection: Connection;
  readonly participants: readonly Participant[];
  readonly domains: readonly Domain[];
}

/**
 * The domains of a window, each with its effective settings. Leases that an interrupted run left on them are ended first.
 * @throws AppError for a domain that cannot be found or read: a window is for all that were named, or none.
 */
export async function chooseParticipants(
  context: CommandContext,
  words: readonly string[],
  options: WindowOptions,
  caller: string,
): Promise<Participants> {
  const connection = new Connection(context.uri);
  const { signal } = context;
  const directory = stateDirectory(context.env);
  const all = await listDomains(connection, { signal });
  const sources = { config: await loadConfig(context.env), env: context.env };
  const selected = await selectDomains(connection, all, { words, all: false, exclude: [] }, sources, { signal });
  const participants: Participant[] = [];
  const domains: Domain[] = [];
  for (const each of selected) {
    if (!('ref' in each)) throw each.error;
    if (isUnreadable(each.domain)) throw each.domain.error;
    await recoverFirst(connection, directory, each.ref.uuid, options.waitMs);
    const windows = options.windows ?? each.policy?.windowsFreeze.value ?? false;
    const leaseSeconds = options.leaseSeconds ?? each.policy?.leaseSeconds.value ?? 60;
    // A lease that nobody asked for is made long enough for VSS; one that was asked for is checked when the guest turns out to be Windows.
    const byDefault = options.leaseSeconds === null && each.policy?.leaseSeconds.origin.kind === 'default';
    domains.push(each.domain);
    participants.push(
      participate(connection, each.ref, {
        stateDirectory: directory,
        leaseSeconds: windows && byDefault ? Math.max(leaseSeconds, windowsLeaseSeconds) : leaseSeconds,
        mountpoints: options.mountpoints,
        force: options.force,
        windows,
        caller,
        peers: options.peers,
        warn: (text) => context.log.warn(text),
        require: options.require ?? each.policy?.quiesceLevel.value ?? 'crash',
      }),
    );
  }
  if (participants.length === 0) throw new AppError('usage', 'no domain was named');
  return { connection, participants, domains };
}
