import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import { startRig } from '../rig/rig.ts';
import { alternate, mebibytes, median, milliseconds, ratio, timed, type Table, type Workplace } from './measure.ts';

interface Result {
  readonly domains: readonly { readonly status: string; readonly guestTrimMs: number; readonly wallMs: number }[];
}

/** A real guest: what we add to the guest's own trim, beside `virsh domfstrim`; and the image after it beside a copy of itself. */
export async function benchTrim(work: Workplace): Promise<Table[]> {
  await using rig = await startRig();
  const guest = await rig.boot({ name: 'bench' });
  const { file } = guest.disk('vda');
  if (file === null) throw new Error('the disk has no file');
  const dirty = 'dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=300 2>/dev/null; sync; rm /mnt/vda/junk; sync; sleep 1; sync';
  const allocated = async (of: string): Promise<number> => (await stat(of)).blocks * 512;
  const clean = await allocated(file);
  await guest.runChecked(dirty, 300_000);
  const before = await allocated(file);
  const trimmed = await work.run(['--json', '-c', rig.uri, 'trim', guest.uuid]);
  const after = await allocated(file);
  const copy = `${file}.copy`;
  await execa('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'qcow2', file, copy]);
  const copied = await allocated(copy);

  const beyond: number[] = [];
  const guestMs: number[] = [];
  const times = await alternate(9, {
    'virsh domfstrim': () => timed('virsh', ['-c', rig.uri, 'domfstrim', guest.uuid]),
    'virt-trim trim': async () => {
      const { ms, stdout } = await work.run(['--json', '-c', rig.uri, 'trim', guest.uuid]);
      const [domain] = (JSON.parse(stdout) as Result).domains;
      if (domain?.status !== 'ok') throw new Error(stdout);
      guestMs.push(domain.guestTrimMs);
      beyond.push(ms - domain.guestTrimMs);
      return ms;
    },
  });
  const virsh = median(times['virsh domfstrim'] ?? []);
  const ours = median(times['virt-trim trim'] ?? []);
  return [
    {
      title: 'Trim of one domain',
      head: ['', 'median of 9', 'against virsh domfstrim'],
      rows: [
        ['`virsh domfstrim`', milliseconds(virsh), ratio(virsh, virsh)],
        ['`virt-trim trim`, start to end', milliseconds(ours), ratio(ours, virsh)],
        ['… of that, guest-fstrim (a virsh and the guest)', milliseconds(median(guestMs)), ratio(median(guestMs), virsh)],
        ['… of that, ours: list, checks, two measurements until stable', milliseconds(median(beyond)), ratio(median(beyond), virsh)],
      ],
      note: 'Bar: at most 400 ms beyond the guest’s own trim. The guest runs under software emulation and has nothing to trim any more.',
    },
    {
      title: 'Image after a trim',
      head: ['image', 'allocated', 'against the copy'],
      rows: [
        ['new guest', mebibytes(clean), ratio(clean, copied)],
        ['with 300 MiB of deleted random data', mebibytes(before), ratio(before, copied)],
        ['after `virt-trim trim`, guest running', mebibytes(after), ratio(after, copied)],
        ['`qemu-img convert` copy of that', mebibytes(copied), ratio(copied, copied)],
      ],
      note: `Bar: at most 1.05 × the copy + 2 MiB (${mebibytes(copied * 1.05 + 2 * 2 ** 20)}). First trim: ${milliseconds(trimmed.ms)}.`,
    },
  ];
}
