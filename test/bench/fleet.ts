import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import type { Guest } from '../../host/demo/guest.ts';
import { LoopBackend } from '../rig/backends.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { VirshWatch } from '../rig/virsh-watch.ts';
import { addMembers, idealMs, makeAllDue, overlap, parseLines, perBackend, type Member } from './fleet-members.ts';
import { measureTrouble } from './fleet-trouble.ts';
import { mebibytes, ratio, type Table, type Workplace } from './measure.ts';

const junkMebibytes = 64;

async function allocated(guest: Guest): Promise<number> {
  return (await stat(guest.disk('vda').file ?? '')).blocks * 512;
}

/** Two dozen real guests on two hypervisors and two storage backends, all due at once; then again, with trouble. */
export async function benchFleet(work: Workplace): Promise<Table[]> {
  const backends = [await LoopBackend.create(16 * 2 ** 30), await LoopBackend.create(16 * 2 ** 30)];
  const rigs = [await startRig(), await startRig()];
  try {
    const members = await addMembers(rigs, backends);
    return [await measureFleet(work, rigs, members), await measureTrouble(work, rigs, members)];
  } finally {
    for (const rig of rigs) await rig.dispose();
    for (const backend of backends) await backend[Symbol.asyncDispose]();
  }
}

async function measureFleet(work: Workplace, rigs: readonly Rig[], members: readonly Member[]): Promise<Table> {
  const real = members.filter(({ agent }) => agent === null);
  for (const { guest } of real) {
    await guest.runChecked(
      `dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=${junkMebibytes} 2>/dev/null; sync; rm /mnt/vda/junk; sync`,
      300_000,
    );
  }
  const before = await Promise.all(real.map(({ guest }) => allocated(guest)));

  const env = await makeAllDue(work, rigs, members);
  const since = performance.now();
  const watch = new VirshWatch((uuid) => String(members.find(({ guest }) => guest.uuid === uuid)?.backend));
  const { stderr } = await execa(process.execPath, [work.main, 'daemon', '--once'], { reject: false, stdin: 'ignore', env });
  await watch.stop();
  const lines = parseLines(stderr);
  const trims = lines.filter(({ event }) => event === 'trim');
  const after = await Promise.all(real.map(({ guest }) => allocated(guest)));
  const startedAt = lines.find(({ event }) => event === 'start')?.time ?? 0;
  const wallMs = (trims.at(-1)?.time ?? 0) - startedAt;
  const taken = (member: Member): number => (trims.find(({ domain }) => domain === member.guest.name)?.seconds ?? 0) * 1000;
  const asked = members.filter(({ agent }) => agent?.count('guest-fstrim') === 1).length;
  const freed = before.reduce((sum, bytes, index) => sum + bytes - (after[index] ?? 0), 0);
  const guests = idealMs(members, (member) => (member.agent === null ? 0 : member.trimMs));
  const slots = idealMs(members, taken);
  return {
    title: `daemon: ${members.length} guests, two hypervisors, two storage backends, ${perBackend} at once on each`,
    head: ['what', 'figure'],
    rows: [
      ['trimmed', `${trims.filter(({ status }) => status === 'ok').length} of ${members.length}`],
      [`really given back by ${real.length} of them`, `${mebibytes(freed)} of ${mebibytes(real.length * junkMebibytes * 2 ** 20)} deleted`],
      ['told to trim exactly once (agents played by the bench)', `${asked} of ${members.length - real.length}`],
      ['most at once on a backend, by the agents', [0, 1].map((backend) => overlap(members, backend, since)).join(', ')],
      ['… by virsh processes', ['0', '1'].map((backend) => watch.most.get(backend) ?? 0).join(', ')],
      ['wall time', `${(wallMs / 1000).toFixed(1)} s`],
      ["ideal packing of the guests' own trims (bar: 1.2)", `${(guests / 1000).toFixed(1)} s, ${ratio(wallMs, guests)}`],
      ['ideal packing with what we add to each', `${(slots / 1000).toFixed(1)} s, ${ratio(wallMs, slots)}`],
    ],
    note: 'Half of the guests have the real qemu-ga and dirty file systems; the trims of the other half take 8 to 12 s, known beforehand, so that the ideal is known too: no real trim is counted in it. Real libvirt, QEMU and kernels throughout.',
  };
}
