import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One `key = value` line as libvirt's configuration reader takes it: strings in double quotes, no escapes. */
function setting(name: string, value: string | number | readonly string[]): string {
  if (Array.isArray(value)) return `${name} = [ ${value.map((item) => `"${item}"`).join(', ')} ]`;
  return `${name} = ${typeof value === 'number' ? value : `"${String(value)}"`}`;
}

/**
 * libvirtd's and its QEMU driver's configuration, from nothing: no file of the machine's own /etc/libvirt is read or copied.
 * (https://libvirt.org/daemons.html; the comments in Debian's libvirtd.conf and qemu.conf)
 */
export async function writeHypervisorConfig(directory: string): Promise<void> {
  const daemon = [
    setting('unix_sock_dir', join(directory, 'sock')),
    setting('unix_sock_rw_perms', '0700'),
    setting('auth_unix_ro', 'none'),
    setting('auth_unix_rw', 'none'),
    // Two of them on one machine must look like two hosts, or libvirt refuses to migrate between them.
    setting('host_uuid', randomUUID()),
    setting('log_outputs', `3:file:${join(directory, 'log', 'libvirtd.log')}`),
  ];
  const qemu = [
    setting('stdio_handler', 'file'), // no virtlogd
    setting('namespaces', []), // QEMU stays in our mount namespace: that is how the supervisor finds it
    setting('security_driver', 'none'), // AppArmor profiles would be written into the machine's /etc/apparmor.d
    setting('remember_owner', 0), // no xattrs on files that are thrown away
  ];
  await writeFile(join(directory, 'libvirtd.conf'), `${daemon.join('\n')}\n`);
  await writeFile(join(directory, 'etc', 'qemu.conf'), `${qemu.join('\n')}\n`);
}
