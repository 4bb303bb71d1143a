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

/**
 * The seed of a guest that has cloud-init. `runcmd` and `write_files` run once per instance, so the seed has an instance id of its own.
 * A guest that was set up by another seed takes this for a new instance, which gets new ssh host keys, cloud-init's default user and
 * locale, package sources from a template and a network by DHCP: all of that is switched off (cloud-init: reference/modules;
 * `config: disabled` in a seed's network-config is honoured, net.is_disabled_cfg).
 */
export function cloudInitSeed(payload: Payload, agent: AgentChoice, id: string): CloudInitSeed {
  const folder = `/run/virt-trim-${id}`;
  const userData =
    agent === 'qemu-ga' && ![...payload.keys()].some((name) => name.startsWith('packages/'))
      ? { packages: ['qemu-guest-agent'], runcmd: [['systemctl', 'start', 'qemu-guest-agent']] }
      : {
          write_files: [...payload].map(([name, content]) => ({
            path: `${folder}/${name}`,
            permissions: '0700',
            encoding: 'b64',
            content: Buffer.from(content).toString('base64'),
          })),
          runcmd: [
            ['sh', `${folder}/in-guest.sh`, 'install', agent],
            ['rm', '-rf', folder],
          ],
        };
  const keep = {
    ssh_deletekeys: false,
    ssh_genkeytypes: [],
    preserve_hostname: true,
    users: [],
    locale: false,
    apt: { preserve_sources_list: true },
  };
  return {
    userData: `#cloud-config\n${stringify({ ...userData, ...keep })}`,
    metaData: stringify({ 'instance-id': `virt-trim-${id}` }),
    networkConfig: stringify({ config: 'disabled' }),
  };
}
