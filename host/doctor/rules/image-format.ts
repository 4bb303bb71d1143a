import type { DiskDescription } from '../../libvirt/domain-xml.ts';
import type { Judgement } from '../finding.ts';
import { isAtLeast } from '../version.ts';
import { isScsiPassthrough, type XmlRule } from '../subject.ts';

/** Formats whose QEMU driver has no discard operation: success is reported and nothing happens (measured for each, docs/doctor.md). */
const deaf: readonly string[] = [
  'vmdk',
  'vdi',
  'vhdx',
  'vpc',
  'qed',
  'qcow',
  'cow',
  'bochs',
  'cloop',
  'dmg',
  'fat',
  'luks',
  'parallels',
  'ploop',
];

/** libvirt's words for a format, where they are not QEMU's: raw is its default since it stopped probing. */
function readFormat(disk: DiskDescription): string {
  if (disk.type === 'dir' || disk.format === 'dir') return 'fat';
  return disk.format === null || disk.format === 'iso' ? 'raw' : disk.format;
}

export const imageFormat: XmlRule = {
  id: 'image-format',
  layer: 'image',
  judge: ({ disk, qemu }): Judgement | null => {
    if (isScsiPassthrough(disk) || disk.type === 'vhostuser') return null;
    const format = readFormat(disk);
    const luks = disk.encryption === 'luks' && format === 'raw';
    const name = luks ? 'luks' : format;
    const evidence = luks ? "<encryption format='luks'/> over raw" : `<driver type='${disk.format ?? 'raw by default'}'/>`;
    if (name === 'qcow2' || name === 'raw')
      return { verdict: 'ok', evidence, message: `QEMU's ${name} driver gives discarded blocks back` };
    if (name === 'parallels' && qemu !== null && isAtLeast(qemu, 9)) {
      return { verdict: 'unknown', evidence, message: 'QEMU 9.0 taught its parallels driver some discards: measure a trim' };
    }
    if (!deaf.includes(name)) return { verdict: 'unknown', evidence, message: `nothing is known about discards in the format '${name}'` };
    return {
      verdict: 'blocks',
      evidence,
      message: luks
        ? "QEMU's LUKS driver has no discard; this is not switched on by anybody: holes would tell which blocks are in use"
        : `QEMU's ${name} driver has no discard: the image never shrinks`,
      fix: {
        command: luks ? 'a qcow2 image with <encryption format="luks"> inside passes discards' : 'convert the image to qcow2 or raw',
        automatic: false,
        needsColdStart: true,
      },
    };
  },
};
