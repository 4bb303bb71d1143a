import { randomInt } from 'node:crypto';
import { execa } from 'execa';
import type { Guest } from '../../host/demo/guest.ts';
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

/** Live migration to another hypervisor of this machine. Its disks stay where they are: both see the same paths. */
export async function migrate(guest: Guest, to: Hypervisor): Promise<void> {
  const port = randomInt(50_000, 60_000);
  await execa(
    'virsh',
    ['-c', guest.hypervisor.uri, 'migrate', '--live', '--unsafe', guest.uuid, to.uri, '--migrateuri', `tcp://127.0.0.1:${port}`],
    { env: { LC_ALL: 'C' }, timeout: 120_000 },
  );
}
