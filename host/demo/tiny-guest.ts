import { randomUUID } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import type { Element } from '@xmldom/xmldom';
import { defineDomain, guestChannels, imageDirectory } from './define-domain.ts';
import { createDisks, type DiskSpec } from './disk-image.ts';
import type { Guest } from './guest.ts';
import type { Hypervisor } from './hypervisor.ts';
import { buildInitramfs } from './initramfs.ts';
import { ensureKernel, type KernelFlavour } from './kernel.ts';
import { ensureQemuGa } from './qemu-ga.ts';

/** Who sits on the guest's end of the agent channel. */
export type AgentSpec =
  /** Debian's, from this machine; `arguments` are added to `-m virtio-serial`. */
  | { readonly kind: 'qemu-ga'; readonly arguments?: readonly string[] }
  /** Our own: `program` is the built binary on the host. */
  | { readonly kind: 'virt-trim'; readonly program: string; readonly arguments?: readonly string[] }
  /** Bytes go unchanged to a socket of the host, `guest.agentSocket`, on which the caller plays the agent. */
  | { readonly kind: 'scripted' }
  | { readonly kind: 'none' };

export interface TinyGuestSpec {
  readonly name: string;
  readonly uuid?: string | undefined;
  /** Default `pc` (the newest i440fx) where a disk is on IDE, else `q35`. */
  readonly machine?: string | undefined;
  readonly memoryMiB?: number | undefined;
  readonly kernel?: KernelFlavour | undefined;
  /** Default: one ext4 on virtio-blk with discard. */
  readonly disks?: readonly DiskSpec[] | undefined;
  /** Default: Debian's qemu-ga. */
  readonly agent?: AgentSpec | undefined;
  /** Whether the XML has an agent channel. Default true. */
  readonly channel?: boolean | undefined;
  /** Driver modules beyond what the disks need, such as `loop` or `dm_mod`. */
  readonly modules?: readonly string[] | undefined;
  /** Programs of this machine that the guest shall have too, by absolute path, with the libraries they need. */
  readonly programs?: readonly string[] | undefined;
  /** Shell lines run after the disks were mounted and before the agent starts (bind mounts, loop mounts). */
  readonly steps?: readonly string[] | undefined;
  /** Further files in the guest: absolute path → text. */
  readonly files?: Readonly<Record<string, string>> | undefined;
  /** Changes the domain XML before it is defined. */
  readonly edit?: ((domain: Element) => void) | undefined;
}

async function agentFiles(agent: AgentSpec): Promise<{ program: string | null; arguments: readonly string[] }> {
  const common = ['-m', 'virtio-serial', '-p', '/dev/virtio-ports/org.qemu.guest_agent.0', '-t', '/run'];
  switch (agent.kind) {
    case 'qemu-ga':
      return { program: await ensureQemuGa(), arguments: [...common, ...(agent.arguments ?? [])] };
    case 'virt-trim':
      return { program: agent.program, arguments: [...common, ...(agent.arguments ?? [])] };
    default:
      return { program: null, arguments: [] };
  }
}

/** Makes images and initramfs and defines the domain; it is off until `start` or `boot`. Debian's kernel, and a userland in memory. */
export async function defineTinyGuest(hypervisor: Hypervisor, spec: TinyGuestSpec): Promise<Guest> {
  const uuid = spec.uuid ?? randomUUID();
  const kernel = await ensureKernel(spec.kernel);
  const agent = spec.agent ?? { kind: 'qemu-ga' };
  const { program, arguments: agentArguments } = await agentFiles(agent);
  const directory = await imageDirectory(hypervisor, uuid);
  const disks = await createDisks(hypervisor, directory, spec.disks ?? [{}]);
  // libvirt gives kernel and initrd to QEMU's user: never the cached ones.
  const [image, initrd] = [`${directory}/vmlinuz`, `${directory}/initramfs`];
  await copyFile(kernel.image, image);
  const channels = guestChannels(hypervisor, uuid, { agent: spec.channel !== false, scripted: agent.kind === 'scripted' });
  const initramfs = await buildInitramfs({
    hostname: spec.name,
    kernel,
    modules: spec.modules ?? [],
    disks,
    ports: channels.map((channel) => channel.name),
    steps: spec.steps ?? [],
    agentKind: agent.kind,
    agentProgram: program,
    agentArguments,
    programs: spec.programs ?? [],
    files: spec.files ?? {},
  });
  await writeFile(initrd, initramfs);
  return defineDomain(hypervisor, {
    name: spec.name,
    uuid,
    disks,
    hasAgent: spec.channel !== false && agent.kind !== 'none',
    machine: spec.machine,
    memoryMiB: spec.memoryMiB ?? 160,
    kernel: image,
    initrd,
    // no_timer_check: on a busy machine an emulated timer looks dead to the kernel, which then stops.
    commandLine: 'console=ttyS0 rdinit=/sbin/init panic=-1 no_timer_check quiet loglevel=4',
    channels,
    edit: spec.edit,
  });
}
