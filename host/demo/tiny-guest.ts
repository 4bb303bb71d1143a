import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Element } from '@xmldom/xmldom';
import { AppError } from '../../shared/errors.ts';
import { Connection } from '../libvirt/connection.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import { keepCapabilities } from './capabilities.ts';
import { ControlChannel, type GuestRun } from './control-channel.ts';
import { createDisks, type Disk, type DiskSpec } from './disk-image.ts';
import { buildDomainXml, type ChannelSpec } from './domain-xml.ts';
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

const bootTimeoutMs = 60_000;
const callTimeoutMs = 60_000;

/** A domain on a private hypervisor with Debian's kernel and a userland in memory. Boots in seconds under software emulation. */
export class TinyGuest {
  readonly spec: TinyGuestSpec;
  readonly hypervisor: Hypervisor;
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly Disk[];
  readonly connection: Connection;
  /** The host's end of the port that a `scripted` agent's bytes go to. */
  readonly agentSocket: string;
  readonly #control: ControlChannel;

  constructor(hypervisor: Hypervisor, spec: TinyGuestSpec, uuid: string, disks: readonly Disk[]) {
    this.hypervisor = hypervisor;
    this.spec = spec;
    this.name = spec.name;
    this.uuid = uuid;
    this.disks = disks;
    this.connection = new Connection(hypervisor.uri);
    // A socket's path has 107 bytes at most, a domain's name more.
    this.agentSocket = hypervisor.path('channels', `${uuid.slice(0, 8)}.agent`);
    this.#control = new ControlChannel(hypervisor.path('channels', `${uuid.slice(0, 8)}.rig`));
  }

  /** What the guest's kernel and boot program printed so far. */
  async console(): Promise<string> {
    return readFile(this.hypervisor.path('console', `${this.uuid}.log`), 'utf8');
  }

  disk(target: string): Disk {
    const disk = this.disks.find((one) => one.target === target);
    if (disk === undefined) throw new AppError('internal', `${this.name}: no disk ${target}`);
    return disk;
  }

  /** Powers it on; returns when QEMU runs. */
  async start(): Promise<void> {
    this.#control.close();
    await this.virsh('start', this.uuid);
  }

  /** Waits until the guest has booted and takes commands. @throws AppError `tool-timeout` with the end of its console. */
  async waitForBoot(timeoutMs = bootTimeoutMs): Promise<void> {
    const { status } = await this.#control.run('until [ -e /run/booted ]; do usleep 20000; done', timeoutMs);
    if (status === 0) return;
    throw new AppError(
      'tool-timeout',
      `${this.name}: did not boot in ${timeoutMs / 1000} s; its console ends:\n${(await this.console()).slice(-2000)}`,
    );
  }

  /** Waits for the agent's port by the live XML: a call to the agent could be killed and leave its lock behind. */
  async waitForAgent(timeoutMs = bootTimeoutMs): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await this.isAgentConnected())) {
      if (performance.now() > deadline) {
        throw new AppError(
          'tool-timeout',
          `${this.name}: no agent opened its port; the console ends:\n${(await this.console()).slice(-2000)}`,
        );
      }
      await sleep(50);
    }
  }

  async isAgentConnected(): Promise<boolean> {
    return parseDomainXml(await this.virsh('dumpxml', this.uuid)).channel === 'connected';
  }

  /** Starts it and waits for all that it has. */
  async boot(timeoutMs = bootTimeoutMs): Promise<this> {
    await this.start();
    await this.waitForBoot(timeoutMs);
    if (this.spec.channel !== false && this.spec.agent?.kind !== 'none') await this.waitForAgent(timeoutMs);
    return this;
  }

  /** Runs a shell command in the guest, apart from the agent. It works while file systems are frozen. */
  run(command: string, timeoutMs = callTimeoutMs): Promise<GuestRun> {
    return this.#control.run(command, timeoutMs);
  }

  /** Runs a command that has to succeed and returns what it printed. @throws AppError `tool-failed`, `tool-timeout`. */
  async runChecked(command: string, timeoutMs = callTimeoutMs): Promise<string> {
    const { status, output } = await this.run(command, timeoutMs);
    if (status === 0) return output;
    const how = status === null ? `did not end in ${timeoutMs / 1000} s` : `ended with ${status}`;
    throw new AppError(status === null ? 'tool-timeout' : 'tool-failed', `in ${this.name}: ${command}: ${how}\n${output}`);
  }

  /** Power off without asking the guest. */
  async destroy(): Promise<void> {
    this.#control.close();
    await this.virsh('destroy', this.uuid);
  }

  /** One virsh command on this guest's hypervisor; its stdout. @throws AppError whatever went wrong. */
  virsh(...command: string[]): Promise<string> {
    return this.connection.run(command, { timeoutMs: callTimeoutMs });
  }

  /** QEMU's process id on this machine, null while it is off. */
  async qemuPid(): Promise<number | null> {
    const path = this.hypervisor.path('run', 'qemu', `${this.name}.pid`);
    return existsSync(path) ? Number(await readFile(path, 'utf8')) : null;
  }

  /** Removes the domain, running or not, and its images. */
  async remove(): Promise<void> {
    this.#control.close();
    await this.connection.runAll([
      ['destroy', this.uuid],
      ['undefine', this.uuid, '--snapshots-metadata', '--checkpoints-metadata'],
    ]);
    await rm(this.hypervisor.path('images', this.uuid), { recursive: true, force: true });
  }
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

/** Makes images and initramfs and defines the domain; it is off until `start` or `boot`. */
export async function defineTinyGuest(hypervisor: Hypervisor, spec: TinyGuestSpec): Promise<TinyGuest> {
  const uuid = spec.uuid ?? randomUUID();
  const kernel = await ensureKernel(spec.kernel);
  const agent = spec.agent ?? { kind: 'qemu-ga' };
  const { program, arguments: agentArguments } = await agentFiles(agent);
  const disks = await createDisks(hypervisor, uuid, spec.disks ?? [{}]);
  const guest = new TinyGuest(hypervisor, spec, uuid, disks);
  const consoles = hypervisor.path('console');
  const directory = hypervisor.path('images', uuid);
  for (const path of [consoles, directory]) await mkdir(path, { recursive: true });
  await chmod(consoles, 0o1777); // QEMU's own user writes there
  // libvirt gives kernel and initrd to QEMU's user: never the cached ones.
  const [image, initrd] = [`${directory}/vmlinuz`, `${directory}/initramfs`];
  await copyFile(kernel.image, image);
  const channels: ChannelSpec[] = [{ name: 'virt-trim.rig.0', socket: hypervisor.path('channels', `${uuid.slice(0, 8)}.rig`) }];
  if (agent.kind === 'scripted') channels.push({ name: 'virt-trim.agent.0', socket: guest.agentSocket });
  if (spec.channel !== false) channels.unshift({ name: 'org.qemu.guest_agent.0' });
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
  const xml = buildDomainXml({
    name: spec.name,
    uuid,
    disks,
    initrd,
    kernel: image,
    edit: spec.edit,
    machine: spec.machine ?? (disks.some((disk) => disk.spec.bus === 'ide') ? 'pc' : 'q35'),
    memoryMiB: spec.memoryMiB ?? 160,
    commandLine: 'console=ttyS0 rdinit=/sbin/init panic=-1 quiet loglevel=4',
    console: `${consoles}/${uuid}.log`,
    channels,
  });
  const file = `${directory}/domain.xml`;
  await writeFile(file, xml);
  await guest.virsh('define', file);
  await keepCapabilities(hypervisor.path('cache'));
  return guest;
}
