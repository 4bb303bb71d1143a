import type { Sys } from './sys.ts';
import { readLine, readText } from './text-file.ts';

/** Makers and products that hypervisors put into the firmware tables of their guests. */
const dmiNames = [
  'QEMU',
  'KVM',
  'Bochs',
  'VMware',
  'VirtualBox',
  'Xen',
  'Microsoft Corporation Virtual',
  'OpenStack',
  'oVirt',
  'RHEV',
  'Red Hat',
  'Proxmox',
  'Amazon EC2',
  'Google',
  'Nutanix',
  'bhyve',
];

/** Whether this looks like a virtual machine: a trim of a physical disk is for its own administrator to schedule. */
export function isVirtualMachine(sys: Sys): boolean {
  const dmi = ['sys_vendor', 'product_name', 'bios_vendor'].map((file) => readLine(sys, `/sys/class/dmi/id/${file}`) ?? '').join(' ');
  if (dmiNames.some((name) => dmi.includes(name))) return true;
  if (readLine(sys, '/sys/hypervisor/type') !== undefined) return true;
  if ((readText(sys, '/proc/device-tree/hypervisor/compatible') ?? '') !== '') return true;
  const flags = readText(sys, '/proc/cpuinfo')
    ?.split('\n')
    .find((line) => line.startsWith('flags'));
  return flags?.split(' ').includes('hypervisor') ?? false;
}

/** What tells this machine from others and stays the same over reboots. */
function readMachineId(sys: Sys): string {
  for (const file of ['/etc/machine-id', '/var/lib/dbus/machine-id', '/sys/class/dmi/id/product_uuid']) {
    const id = readLine(sys, file) ?? '';
    if (id !== '') return id;
  }
  return sys.unixName().node;
}

/**
 * A number below `span` that is always the same on this machine and spread evenly over many (FNV-1a, 32 bits): machines that run
 * the same cron line do not trim the same storage in the same minute.
 */
export function chooseSplay(sys: Sys, span: number): number {
  if (span <= 0) return 0;
  let hash = 0x811c9dc5;
  const id = readMachineId(sys);
  for (let at = 0; at < id.length; at++) {
    hash = Math.imul(hash ^ id.charCodeAt(at), 16_777_619);
  }
  return (hash >>> 0) % span;
}
