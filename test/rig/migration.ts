import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { Guest } from '../../host/demo/guest.ts';
import type { Hypervisor } from '../../host/demo/hypervisor.ts';

/**
 * libvirt refuses to migrate between two daemons with one host name, and its hypervisors here share the machine's. This restarts one under
 * another name, in a UTS namespace of its own.
 */
export async function renameHost(hypervisor: Hypervisor, name: string): Promise<void> {
  await hypervisor.stopDaemon();
  const daemon = ['libvirtd', '--daemon', '--config', hypervisor.path('libvirtd.conf'), '--pid-file', hypervisor.path('libvirtd.pid')];
  const environment = ['-i', `PATH=${process.env['PATH'] ?? '/usr/sbin:/usr/bin'}`, 'LC_ALL=C', 'HOME=/root'];
  const result = await hypervisor.enter(
    'unshare',
    ['--uts', 'sh', '-c', 'hostname "$1" && shift && exec env "$@"', 'sh', name, ...environment, ...daemon],
    30_000,
  );
  if (result.exitCode !== 0) throw new Error(`libvirtd did not start as ${name}: ${result.stderr}`);
}

/**
 * Live migration to another hypervisor of this machine. Its disks stay where they are: both see the same paths. The sockets of its ports do not:
 * the source's QEMU removes its own when it ends.
 * @returns the guest where it is now.
 */
export async function migrate(guest: Guest, to: Hypervisor): Promise<Guest> {
  const xml = to.path('images', `${guest.uuid}.xml`);
  const description = await guest.virsh('dumpxml', guest.uuid, '--migratable', '--security-info');
  await writeFile(xml, description.replaceAll(guest.hypervisor.path('channels'), to.path('channels')));
  const port = randomInt(50_000, 60_000);
  const uri = `tcp://127.0.0.1:${port}`;
  await execa(
    'virsh',
    ['-c', guest.hypervisor.uri, 'migrate', '--live', '--unsafe', guest.uuid, to.uri, '--migrateuri', uri, '--xml', xml],
    {
      env: { LC_ALL: 'C' },
      timeout: 120_000,
    },
  );
  return new Guest(to, { name: guest.name, uuid: guest.uuid, disks: guest.disks, hasAgent: true });
}
