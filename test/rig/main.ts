import { Command, InvalidArgumentError, Option } from 'commander';
import type { DiskBus, DiskSpec, FilesystemType } from '../../host/demo/disk-image.ts';
import type { AgentSpec } from '../../host/demo/tiny-guest.ts';
import { ensureKernel } from '../../host/demo/kernel.ts';
import { ensureQemuGa } from '../../host/demo/qemu-ga.ts';
import { ensureDebianBase } from './debian-guest.ts';
import { startRig } from './rig.ts';

interface UpOptions {
  readonly guests: number;
  readonly machine?: string;
  readonly bus: DiskBus;
  readonly filesystem: FilesystemType;
  readonly format: 'qcow2' | 'raw';
  readonly discard: 'unmap' | 'ignore' | 'absent';
  readonly disks: number;
  readonly block?: boolean;
  readonly agent: 'qemu-ga' | 'virt-trim' | 'none';
  readonly agentProgram?: string;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('expected a number');
  return value;
}

function agentOf(options: UpOptions): AgentSpec {
  if (options.agent !== 'virt-trim') return { kind: options.agent };
  if (options.agentProgram === undefined) throw new InvalidArgumentError('--agent virt-trim needs --agent-program');
  return { kind: 'virt-trim', program: options.agentProgram };
}

/** Brings a rig up by hand: prints the URI and waits for Ctrl-C. */
async function up(options: UpOptions): Promise<void> {
  await using rig = await startRig();
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  process.stdout.write(`${rig.uri}\n`);
  const disk: DiskSpec = {
    bus: options.bus,
    filesystem: options.filesystem,
    format: options.format,
    block: options.block,
    discard: options.discard === 'absent' ? null : options.discard,
  };
  const specs = Array.from({ length: options.guests }, (_, index) => ({
    name: `tiny-${index + 1}`,
    machine: options.machine,
    disks: Array.from({ length: options.disks }, () => disk),
    agent: agentOf(options),
  }));
  const booted = rig.bootAll(specs).then(() => process.stderr.write(`${specs.length} guests are up; Ctrl-C removes everything\n`));
  await Promise.race([stopped, booted.then(() => stopped)]);
}

/** Downloads and builds what tests would otherwise wait for inside a test's own time. */
async function prepare(): Promise<void> {
  await Promise.all([ensureKernel(), ensureQemuGa()]);
  process.stderr.write('rig: a whole Debian for the tests; made the first time (debootstrap, a minute or two), then kept\n');
  await ensureDebianBase();
}

const program = new Command('rig').description('a private hypervisor with throw-away guests, for trying things by hand');
program
  .command('up')
  .option('--guests <n>', 'tiny guests', count, 1)
  .option('--block', 'the disks are block devices (loop) on the host')
  .option('--disks <n>', 'disks of each', count, 1)
  .option('--machine <type>', 'QEMU machine type, such as pc-i440fx-3.1')
  .addOption(new Option('--bus <bus>').choices(['virtio', 'scsi', 'sata', 'ide']).default('virtio'))
  .addOption(new Option('--filesystem <type>').choices(['ext4', 'xfs', 'btrfs', 'vfat']).default('ext4'))
  .addOption(new Option('--format <format>').choices(['qcow2', 'raw']).default('qcow2'))
  .addOption(new Option('--discard <mode>').choices(['unmap', 'ignore', 'absent']).default('unmap'))
  .addOption(new Option('--agent <kind>').choices(['qemu-ga', 'virt-trim', 'none']).default('qemu-ga'))
  .option('--agent-program <file>', 'the built agent, for --agent virt-trim')
  .action(up);
program.command('prepare').description('fetch and build guests ahead of the tests').action(prepare);
await program.parseAsync();
