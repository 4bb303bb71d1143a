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
 * A guest that was set up by another seed takes this for a new instance, which would get new ssh host keys, cloud-init's default user and
 * locale, package sources from a template and a network by DHCP. So the seed names the only modules that run (its lists stand over those
 * of /etc/cloud/cloud.cfg), and switches the network off (`config: disabled`, net.is_disabled_cfg); both seen with 22.4.
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
  const modules = {
    cloud_init_modules: ['write-files'],
    cloud_config_modules: ['runcmd'],
    cloud_final_modules: ['package-update-upgrade-install', 'scripts-user'],
    preserve_hostname: true,
  };
  return {
    userData: `#cloud-config\n${stringify({ ...userData, ...modules })}`,
    metaData: stringify({ 'instance-id': `virt-trim-${id}` }),
    networkConfig: stringify({ config: 'disabled' }),
  };
}
