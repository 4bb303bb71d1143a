import { stringify } from 'yaml';
import type { Payload } from './payload.ts';
import type { AgentChoice } from './ways.ts';

/** cloud-init's NoCloud source looks for a file system with this label (cloud-init: reference/datasources/nocloud). */
export const seedLabel = 'CIDATA';

/** Text of the files of a NoCloud seed. */
export interface CloudInitSeed {
  readonly userData: string;
  readonly metaData: string;
  readonly networkConfig: string;
}

/** What cloud-init is told to do: also for a guest that is only being set up, by whatever hands it its user data. */
function instructions(payload: Payload, agent: AgentChoice, id: string): object {
  const folder = `/run/virt-trim-${id}`;
  return {
    write_files: [...payload].map(([name, content]) => ({
      path: `${folder}/${name}`,
      permissions: '0700',
      encoding: 'b64',
      content: Buffer.from(content).toString('base64'),
    })),
    // The distribution's package too: its service waits for a port that is older than its udev rule, which the script knows about.
    runcmd: [
      ['sh', `${folder}/in-guest.sh`, 'install', agent],
      ['rm', '-rf', folder],
    ],
  };
}

/** User data for `--print`, to be merged with what else the guest shall have. */
export function cloudInitUserData(payload: Payload, agent: AgentChoice, id: string): string {
  return `#cloud-config\n${stringify(instructions(payload, agent, id))}`;
}

/**
 * The seed of a guest that has cloud-init. `runcmd` and `write_files` run once per instance, so the seed has an instance id of its own.
 * A guest that was set up by another seed takes this for a new instance, which would get new ssh host keys, cloud-init's default user and
 * locale, package sources from a template and a network by DHCP. So the seed names the only modules that run (its lists stand over those
 * of /etc/cloud/cloud.cfg), and switches the network off (`config: disabled`, net.is_disabled_cfg); both seen with 22.4.
 */
export function cloudInitSeed(payload: Payload, agent: AgentChoice, id: string): CloudInitSeed {
  const modules = {
    cloud_init_modules: ['write-files'],
    cloud_config_modules: ['runcmd'],
    cloud_final_modules: ['scripts-user'],
    preserve_hostname: true,
  };
  return {
    userData: `#cloud-config\n${stringify({ ...instructions(payload, agent, id), ...modules })}`,
    metaData: stringify({ 'instance-id': `virt-trim-${id}` }),
    networkConfig: stringify({ config: 'disabled' }),
  };
}
