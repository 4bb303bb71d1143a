import { chmod, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { XMLSerializer } from '@xmldom/xmldom';
import type { Connection } from '../libvirt/connection.ts';
import type { Domain } from '../libvirt/domains.ts';
import { attribute, child, children, parseXml } from '../libvirt/xml.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { withXmlFile } from './channel.ts';
import { imageDeviceXml, type ImageDevice } from './device-xml.ts';
import type { InstallRun } from './install-run.ts';
import type { MediumNote } from './journal.ts';

/** Beside the domain's own image: QEMU's user can read there, and libvirt lets it. */
export function mediumPath(run: InstallRun, name: string): string {
  const image = run.situation.domain.disks.find((disk) => disk.type === 'file' && disk.source !== null && disk.device === 'disk');
  const folder = image?.source === undefined || image.source === null ? '/var/lib/libvirt/images' : path.dirname(image.source);
  return path.join(folder, `virt-trim-${run.journal.record.id}-${name}.iso`);
}

function freeTarget(taken: readonly string[], prefix: string): string {
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') if (!taken.includes(prefix + letter)) return prefix + letter;
  throw new AppError('refused', 'the domain has no free disk name left');
}

/** Places for a read-only disk in a running machine, the likeliest first; SATA and IDE drives cannot be plugged in. */
function hotplugCandidates(xml: string, file: string): ImageDevice[] {
  const devices = child(parseXml(xml, 'virsh dumpxml'), 'devices');
  if (devices === undefined) return [];
  const taken = children(devices, 'disk').map((disk) => attribute(child(disk, 'target'), 'dev') ?? '');
  const controllers = children(devices, 'controller');
  const has = (type: string): boolean => controllers.some((one) => attribute(one, 'type') === type && attribute(one, 'model') !== 'none');
  const buses = children(devices, 'disk').map((disk) => attribute(child(disk, 'target'), 'bus'));
  const candidates: ImageDevice[] = [];
  if (has('scsi')) candidates.push({ file, device: 'disk', bus: 'scsi', target: freeTarget(taken, 'sd') });
  if (buses.includes('virtio') || !has('usb')) candidates.push({ file, device: 'disk', bus: 'virtio', target: freeTarget(taken, 'vd') });
  if (has('usb')) candidates.push({ file, device: 'disk', bus: 'usb', target: freeTarget(taken, 'sd') });
  return candidates;
}

/**
 * Shows an ISO to a running guest: in an empty drive where it has one, else as a read-only disk that is plugged in.
 * The file is removed with the medium where we have made it. @throws AppError `refused` where nothing can be plugged in.
 */
export async function showMedium(run: InstallRun, file: string): Promise<void> {
  const { connection, ref } = run;
  await chmod(file, 0o644);
  const drive = run.situation.domain.disks.find((disk) => disk.device === 'cdrom' && disk.source === null);
  if (drive !== undefined) {
    await run.journal.note({ medium: { target: drive.target, file, how: 'inserted' } });
    await connection.run(['change-media', ref.uuid, drive.target, file, '--insert', '--live'], { timeoutMs: 30_000 });
    return;
  }
  const reasons: string[] = [];
  for (const device of hotplugCandidates(await connection.run(['dumpxml', ref.uuid]), file)) {
    await run.journal.note({ medium: { target: device.target, file, how: 'attached-live' } });
    try {
      await withXmlFile(run.journal.directory, imageDeviceXml(device), (xml) =>
        connection.run(['attach-device', ref.uuid, xml, '--live'], { timeoutMs: 30_000 }),
      );
      return;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'tool-failed') throw thrown;
      reasons.push(`${device.bus}: ${error.context['stderr'] ?? error.message}`);
    }
  }
  throw new AppError(
    'refused',
    `${ref.name}: no ISO can be shown to the running machine (${reasons.join('; ')}); it needs a CD drive or a free slot`,
  );
}

/** Puts an ISO into the persistent XML of a domain that is off. */
export async function seedMedium(run: InstallRun, file: string): Promise<void> {
  const { connection, ref, situation } = run;
  await chmod(file, 0o644);
  const device = seedDevice(situation.domain, file);
  await run.journal.note({ medium: { target: device.target, file, how: 'attached-config' } });
  await withXmlFile(run.journal.directory, imageDeviceXml(device), (xml) =>
    connection.run(['attach-device', ref.uuid, xml, '--config'], { timeoutMs: 30_000 }),
  );
}

/**
 * On the bus of the guest's own disk, which it has a driver for: Debian's cloud kernel has none for SATA, where a CD drive of q35 would be,
 * and a label is found on any disk. SATA and IDE disks are never read-only: there it is a CD drive.
 */
export function seedDevice({ disks }: Pick<Domain, 'disks'>, file: string): ImageDevice {
  const bus = disks.find((disk) => disk.device === 'disk')?.bus ?? 'virtio';
  const taken = disks.map((disk) => disk.target);
  if (bus === 'virtio') return { file, device: 'disk', bus, target: freeTarget(taken, 'vd') };
  if (bus === 'scsi' || bus === 'usb') return { file, device: 'disk', bus, target: freeTarget(taken, 'sd') };
  if (bus === 'ide') return { file, device: 'cdrom', bus, target: freeTarget(taken, 'hd') };
  return { file, device: 'cdrom', bus: 'sata', target: freeTarget(taken, 'sd') };
}

function diskElement(xml: string, target: string, file: string): string | null {
  const devices = child(parseXml(xml, 'virsh dumpxml'), 'devices');
  const found = (devices === undefined ? [] : children(devices, 'disk')).find(
    (disk) => attribute(child(disk, 'target'), 'dev') === target && attribute(child(disk, 'source'), 'file') === file,
  );
  return found === undefined ? null : new XMLSerializer().serializeToString(found);
}

const unplugMs = 20_000;

/** Takes the medium away, from whichever XML it is in. @returns what could not be done, in words; null where all is gone. */
export async function takeMedium(
  connection: Connection,
  uuid: string,
  medium: MediumNote,
  directory: string,
  ownFile: boolean,
): Promise<string | null> {
  let problem: string | null = null;
  const flags = medium.how === 'attached-config' ? (['--config'] as const) : (['--live'] as const);
  const dump = (): Promise<string> =>
    connection.run(['dumpxml', uuid, ...(medium.how === 'attached-config' ? ['--inactive', '--security-info'] : [])]);
  const element = diskElement(await dump(), medium.target, medium.file);
  try {
    if (element !== null && medium.how === 'inserted')
      await connection.run(['change-media', uuid, medium.target, '--eject', '--force', '--live'], { timeoutMs: 30_000 });
    else if (element !== null) {
      await withXmlFile(directory, element, (xml) => connection.run(['detach-device', uuid, xml, ...flags], { timeoutMs: 30_000 }));
      // The guest has a word in unplugging a disk; libvirt 9.0 answers before it has happened.
      const deadline = performance.now() + unplugMs;
      while (diskElement(await dump(), medium.target, medium.file) !== null && performance.now() < deadline) await sleep(200);
      if (diskElement(await dump(), medium.target, medium.file) !== null)
        problem = `the guest does not let go of the disk ${medium.target}`;
    }
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'domain-not-running') problem = error.message;
  }
  if (problem === null && ownFile) await rm(medium.file, { force: true });
  return problem;
}
