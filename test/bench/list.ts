import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { startRig } from '../rig/rig.ts';
import { mebibytes, median, milliseconds, ratio, timed, type Table, type Workplace } from './measure.ts';

const simulated = fileURLToPath(new URL('simulated-virsh.mjs', import.meta.url));

/** A list of 24 real domains, a few of them running. */
async function real(work: Workplace): Promise<string[][]> {
  await using rig = await startRig();
  const small = { disks: [{ filesystem: null, sizeBytes: 2 ** 24 }] } as const;
  for (let index = 5; index <= 24; index += 1) await rig.define({ name: `d${index}`, ...small });
  await rig.bootAll([1, 2, 3, 4].map((index) => ({ name: `d${index}`, ...small })));
  const virsh = await work.countingVirsh('virsh');
  const ours: number[] = [];
  const peer: number[] = [];
  let before = 0;
  let processes = 0;
  let peakBytes = 0;
  const { stdout } = await execa('virsh', ['-q', '-c', rig.uri, 'list', '--all', '--name']);
  const names = stdout.split('\n').filter((name) => name !== '');
  for (let round = 0; round < 5; round += 1) {
    before = await virsh.count();
    const run = await work.run(['--json', '-c', rig.uri, 'list'], { VIRT_TRIM_VIRSH: virsh.file });
    processes = (await virsh.count()) - before;
    ours.push(run.ms);
    peakBytes = Math.max(peakBytes, run.peakBytes);
    if ((JSON.parse(run.stdout) as { domains: unknown[] }).domains.length !== 24) throw new Error('not 24 domains');
    let sum = 0;
    for (const name of names)
      sum +=
        (await timed('virsh', ['-c', rig.uri, 'dumpxml', name])) + (await timed('virsh', ['-c', rig.uri, 'domblkinfo', name, '--all']));
    peer.push(sum);
  }
  return [
    [
      '24 real, 4 running',
      'virt-trim list',
      String(processes),
      milliseconds(median(ours)),
      ratio(median(ours), median(peer)),
      mebibytes(peakBytes),
    ],
    ['24 real, 4 running', 'a script: dumpxml and domblkinfo for each', '48', milliseconds(median(peer)), '1.00 ×', '-'],
  ];
}

async function simulation(work: Workplace, domains: number): Promise<string[]> {
  const virsh = await work.countingVirsh(simulated);
  const run = await work.run(['--json', '-c', 'qemu:///system', 'list'], { VIRT_TRIM_VIRSH: virsh.file, BENCH_DOMAINS: String(domains) });
  const listed = (JSON.parse(run.stdout) as { domains: { status: string; state: string }[] }).domains;
  if (listed.length !== domains || listed.some((domain) => domain.state !== 'running')) throw new Error(`${listed.length} domains listed`);
  return [`${domains} simulated`, 'virt-trim list', String(await virsh.count()), milliseconds(run.ms), '', mebibytes(run.peakBytes)];
}

export async function benchList(work: Workplace): Promise<Table> {
  const rows = await real(work);
  for (const domains of [1, 100, 1000]) rows.push(await simulation(work, domains));
  return {
    title: 'List',
    head: ['domains', 'by', 'virsh processes', 'time', 'against the script', 'peak memory of the program'],
    rows,
    note: 'Bar for 1,000 (a program in virsh’s place, with recorded output): as many virsh processes as for one domain, memory at most 150 MiB.',
  };
}
