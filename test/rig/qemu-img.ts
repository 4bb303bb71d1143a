import { runChecked } from '../../host/demo/run-checked.ts';
import type { Disk } from '../../host/demo/disk-image.ts';

/** `qemu-img info` of an image that may be in use; the format is told, never guessed. */
export async function qemuImgInfo(disk: Disk): Promise<Record<string, unknown>> {
  const format = disk.backingFile === null ? disk.format : 'qcow2';
  const text = await runChecked('qemu-img', ['info', '-U', '--output=json', '-f', format, disk.file ?? ''], { timeoutMs: 30_000 });
  return JSON.parse(text) as Record<string, unknown>;
}
