import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../shared/errors.ts';
import { Connection } from '../libvirt/connection.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import { ControlChannel, type GuestRun } from './control-channel.ts';
import type { Disk } from './disk-image.ts';
import type { Hypervisor } from './hypervisor.ts';
import { runChecked } from './run-checked.ts';

/** The host's end of a port that is no agent's. A socket's path has 107 bytes at most, and a domain's name can be longer. */
export function channelSocket(hypervisor: Hypervisor, uuid: string, port: 'rig' | 'agent'): string {
  return hypervisor.path('channels', `${uuid.slice(0, 8)}.${port}`);
}

const bootTimeoutMs = 120_000;
const callTimeoutMs = 60_000;

/** What every guest on a private hypervisor has: a domain, its images, and a control port apart from its agent. */
export interface GuestParts {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly Disk[];
  /** Whether something shall open the agent's port. */
  readonly hasAgent: boolean;
}

/** A domain on a private hypervisor. */
export class Guest {
  readonly hypervisor: Hypervisor;
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly Disk[];
  readonly connection: Connection;
  /** The host's end of the port that a `scripted` agent's bytes go to. */
  readonly agentSocket: string;
  readonly #hasAgent: boolean;
  readonly #control: ControlChannel;

  constructor(hypervisor: Hypervisor, parts: GuestParts) {
    this.hypervisor = hypervisor;
    this.name = parts.name;
    this.uuid = parts.uuid;
    this.disks = parts.disks;
    this.#hasAgent = parts.hasAgent;
    this.connection = new Connection(hypervisor.uri);
    this.agentSocket = channelSocket(hypervisor, parts.uuid, 'agent');
    this.#control = new ControlChannel(channelSocket(hypervisor, parts.uuid, 'rig'));
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
    const { status } = await this.#control.run('until [ -e /run/booted ]; do sleep 0.02; done', timeoutMs);
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
    if (this.#hasAgent) await this.waitForAgent(timeoutMs);
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

  /** One agent command through real virsh; the value of its `return`. @throws AppError whatever went wrong. */
  async agent(command: string, args?: Readonly<Record<string, unknown>>, timeoutSeconds = 5): Promise<unknown> {
    const request = JSON.stringify(args === undefined ? { execute: command } : { execute: command, arguments: args });
    const reply = await this.virsh('qemu-agent-command', this.uuid, request, '--timeout', String(timeoutSeconds));
    return (JSON.parse(reply) as { return: unknown }).return;
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
    for (const disk of this.disks) {
      if (disk.spec.block === true && disk.source !== null)
        await runChecked('losetup', ['--detach', disk.source], { timeoutMs: callTimeoutMs });
    }
    await rm(this.hypervisor.path('images', this.uuid), { recursive: true, force: true });
  }
}
