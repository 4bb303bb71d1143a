import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { commitOverlay, createOverlay } from '../libvirt/qemu-img.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { Guestfish, guestfishEnvironment } from './guestfish.ts';
import { mountSystem } from './guest-system.ts';
import { inGuestError, noSpaceStatus, readInGuestResult, type InGuestResult } from './in-guest-result.ts';
import type { InstallRun } from './install-run.ts';
import type { OverlayNote } from './journal.ts';
import { buildPayload, programName, type Payload } from './payload.ts';
import type { OfflineDisk } from './steps.ts';
import type { AgentChoice } from './ways.ts';

const launchMs = 600_000;
const copyMs = 120_000;
/** A package manager with a slow mirror, under software emulation. */
const programMs = 1_800_000;

/** Changes with every write to the file; a block device only tells which one it is. */
async function stampOf(file: string): Promise<string> {
  const facts = await stat(file, { bigint: true });
  const identity = `${facts.dev}:${facts.ino}:${facts.rdev}`;
  return facts.isFile() ? `${identity}:${facts.size}:${facts.mtimeNs}` : identity;
}

async function assertOff(run: InstallRun): Promise<void> {
  const { id } = parseDomainXml(await run.connection.run(['dumpxml', run.ref.uuid]));
  if (id !== null) throw new AppError('refused', `${run.ref.name}: was started meanwhile; nothing of it was changed`);
}

/** No other domain of this connection may stand on the image: its own copy would change under it. @throws AppError `refused`. */
async function assertAlone(run: InstallRun, disks: readonly OfflineDisk[]): Promise<void> {
  for (const other of await run.otherDomains()) {
    const files = other.disks.flatMap((disk) => [disk.source, ...disk.backing.map((layer) => layer.source)]);
    const shared = disks.find((disk) => files.includes(disk.file));
    if (shared !== undefined)
      throw new AppError('refused', `${run.ref.name}: ${shared.target} (${shared.file}) is used by the domain ${other.name} as well`);
  }
}

/** Every disk gets an overlay of ours; what libguestfs does lands there, and QEMU's own locks keep the domain from starting meanwhile. */
export async function makeOverlays(run: InstallRun, disks: readonly OfflineDisk[]): Promise<void> {
  await assertOff(run);
  await assertAlone(run, disks);
  const overlays: OverlayNote[] = [];
  for (const disk of disks) {
    const file = path.join(run.journal.directory, `${disk.target.replaceAll(/[^a-z0-9]/g, '_')}.overlay.qcow2`);
    await createOverlay({ path: disk.file, format: disk.format }, file, { signal: run.signal });
    overlays.push({ target: disk.target, base: disk.file, format: disk.format, file, baseStamp: await stampOf(disk.file) });
  }
  await run.journal.note({ overlays });
}

async function upload(fish: Guestfish, run: InstallRun, folder: string, payload: Payload): Promise<void> {
  const local = path.join(run.journal.directory, 'payload');
  await mkdir(path.join(local, 'packages'), { recursive: true, mode: 0o700 });
  try {
    await fish.run(copyMs, 'mkdir-mode', folder, '0700');
  } catch (thrown) {
    throw isFull(thrown) ? inGuestError(noSpaceStatus, '') : thrown;
  }
  if ([...payload.keys()].some((name) => name.startsWith('packages/'))) await fish.run(copyMs, 'mkdir', `${folder}/packages`);
  for (const [name, content] of payload) {
    await writeFile(path.join(local, name), content, { mode: 0o600 });
    try {
      await fish.run(copyMs, 'upload', path.join(local, name), `${folder}/${name}`);
    } catch (thrown) {
      throw isFull(thrown) ? inGuestError(noSpaceStatus, '') : thrown;
    }
  }
}

/** libguestfs' words for it, as its upload says them of a full ext4 (seen with 1.48: `upload: write error`). */
function isFull(thrown: unknown): boolean {
  return /: write error: |No space left on device/.test(toAppError(thrown).message);
}

/** Labels what was brought, where the guest has SELinux; a policy other than the usual one is left to the guest's next boot. */
async function relabel(fish: Guestfish): Promise<void> {
  const contexts = '/etc/selinux/targeted/contexts/files/file_contexts';
  if ((await fish.run(copyMs, 'is-file', contexts)).trim() !== 'true') {
    await fish.run(copyMs, 'touch', '/.autorelabel');
    return;
  }
  for (const tree of ['/usr/local/sbin', '/usr/bin', '/usr/sbin', '/etc/systemd/system', '/var/lib/virt-trim'])
    await fish.run(copyMs, '-selinux-relabel', contexts, tree);
}

/** Runs the install script in the guest's own root, inside libguestfs' appliance. @throws AppError why it could not; the images are untouched. */
export async function changeImage(run: InstallRun, verb: 'install' | 'remove', agent: AgentChoice | null): Promise<InGuestResult> {
  const { guestfish } = run.situation.tools;
  if (guestfish === null) throw new AppError('tool-missing', 'guestfish is not installed');
  const environment = guestfishEnvironment(run.env, run.situation.domain.type === 'qemu');
  await using fish = Guestfish.open(guestfish, environment, run.signal);
  // qcow2 is the format of our own overlay; that of the image below it stands in the overlay, from the domain's XML.
  for (const overlay of run.journal.notes.overlays) await fish.run(copyMs, 'add-drive', overlay.file, 'format:qcow2');
  if (verb === 'install' && agent !== 'virt-trim' && run.options.packages.length === 0) await fish.run(copyMs, 'set-network', 'true');
  await fish.run(launchMs, 'run');
  const system = await mountSystem(fish);
  const known = run.situation.own.some((one) => one.arch === system.arch);
  if (agent === 'virt-trim' && !known)
    throw new AppError('tool-missing', `virt-trim's own agent is not built for the guest's processor (${system.arch ?? 'unknown'})`);
  const architectures = verb === 'install' && agent !== 'qemu-ga' && known && system.arch !== null ? [system.arch] : [];
  const payload = await buildPayload(run.situation.own, { architectures, packages: verb === 'install' ? run.options.packages : [] });
  const folder = `/tmp/virt-trim-${run.journal.record.id}`;
  await upload(fish, run, folder, payload);
  const choice = agent ?? (architectures.length === 0 ? 'qemu-ga' : 'auto');
  const words = verb === 'install' ? `install ${choice} offline` : 'remove offline';
  // Its status is in its last line; a status here would end guestfish before we had read it.
  const output = await fish.run(programMs, 'sh', `sh ${folder}/${programName} ${words} 2>&1 || true`);
  await fish.run(copyMs, 'rm-rf', folder);
  const result = readInGuestResult(output);
  if (system.selinux) await relabel(fish);
  await fish.close();
  return result;
}

/** Writes the overlays into their images. From the note on, only going forward makes the images whole. */
export async function commitOverlays(run: InstallRun): Promise<void> {
  await assertOff(run);
  for (const overlay of run.journal.notes.overlays) {
    if ((await stampOf(overlay.base)) !== overlay.baseStamp)
      throw new AppError('refused', `${overlay.base}: was written to meanwhile; the change was thrown away`);
  }
  await run.journal.note({ committing: true });
  for (const overlay of run.journal.notes.overlays) await commitOverlay(overlay.file);
  await run.writeReceipt(false);
  await run.journal.note({ committed: true, overlays: [] });
}
