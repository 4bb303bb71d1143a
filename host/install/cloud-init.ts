import { stringify } from 'yaml';
import type { Payload } from './payload.ts';
import type { AgentChoice } from './ways.ts';

/** cloud-init's NoCloud source looks for a file system with this label (cloud-init: reference/datasources/nocloud). */
export const seedLabel = 'CIDATA';

/**
 * The seed of a guest that has cloud-init. `runcmd` and `write_files` run once per instance, so the seed has an instance id of its own:
 * a guest that was set up by another seed takes this for a new instance and also makes new ssh host keys, which is why that is switched off.
 */
export function cloudInitSeed(payload: Payload, agent: AgentChoice, id: string): { userData: string; metaData: string } {
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
  const keep = { ssh_deletekeys: false, ssh_genkeytypes: [], preserve_hostname: true };
  return {
    userData: `#cloud-config\n${stringify({ ...userData, ...keep })}`,
    metaData: stringify({ 'instance-id': `virt-trim-${id}` }),
  };
}
