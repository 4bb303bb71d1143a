import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import type { Guest } from '../../host/demo/guest.ts';
import { startRig } from '../rig/rig.ts';
import { FaultyBundle } from '../vm/kill-matrix/bundle.ts';

// npm run bench:frozen-window [-- --rounds 20]
// The frozen window of `quiesce GUEST -- true` beside that of the bare batch `virsh "domfsfreeze D; domfsthaw D"`, in turn, as a writer in the
// guest has them: the longest that one write to the frozen disk took. The guest's clock has a resolution of 10 ms.

const at = process.argv.indexOf('--rounds');
const rounds = at === -1 ? 20 : Number(process.argv[at + 1]);

const writer = `
now() { read -r n _ </proc/uptime; n=\${n%.*}\${n#*.}; while [ "\${n#0}" != "$n" ]; do n=\${n#0}; done; [ -n "$n" ] || n=0; }
echo 0 >/run/longest
: >/mnt/vda/probe
while :; do
  now; a=$n
  echo x 1<>/mnt/vda/probe
  now
  read -r longest </run/longest
  [ $((n - a)) -le "\${longest:-0}" ] || echo $((n - a)) >/run/longest
  usleep 3000
done`;

async function longestMs(guest: Guest): Promise<number> {
  return Number((await guest.runChecked('cat /run/longest; echo 0 >/run/longest')).trim()) * 10;
}

await using bundle = await FaultyBundle.build();
await using rig = await startRig();
const guest = await (await rig.define({ name: 'w', disks: [{ sizeBytes: 64 * 1024 * 1024 }] })).boot(240_000);
await guest.runChecked(`cat >/run/w.sh <<'END'\n${writer}\nEND\nsetsid sh /run/w.sh </dev/null >/dev/null 2>&1 &`);
const stateDirectory = await mkdtemp(path.join(tmpdir(), 'virt-trim-window-'));

async function ours(): Promise<{ insideMs: number; reportedMs: number }> {
  await longestMs(guest);
  const { stdout } = await execa(process.execPath, [bundle.file, '-c', rig.uri, '--json', 'quiesce', guest.uuid, '--', 'true'], {
    env: { VIRT_TRIM_STATE_DIR: stateDirectory },
  });
  const envelope = JSON.parse(stdout) as { domains: { frozenMs: number }[] };
  return { insideMs: await longestMs(guest), reportedMs: envelope.domains[0]?.frozenMs ?? 0 };
}

async function bare(): Promise<number> {
  await longestMs(guest);
  await execa('virsh', ['-c', rig.uri, `domfsfreeze ${guest.uuid}; domfsthaw ${guest.uuid}`]);
  return longestMs(guest);
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
/** Mean of the middle half: the guest's clock ticks every 10 ms, which a median cannot see behind, and a mean takes one hiccup for a figure. */
const middle = (values: readonly number[]): number => {
  const half = values.toSorted((a, b) => a - b).slice(Math.floor(values.length / 4), Math.ceil((values.length * 3) / 4));
  return Math.round((half.reduce((sum, value) => sum + value, 0) / half.length) * 10) / 10;
};
const mean = (values: readonly number[]): number => Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
const quiesce: number[] = [];
const reported: number[] = [];
const batch: number[] = [];
try {
  for (let round = 0; round < rounds; round += 1) {
    const own = await ours();
    quiesce.push(own.insideMs);
    reported.push(own.reportedMs);
    batch.push(await bare());
  }
} finally {
  await rm(stateDirectory, { recursive: true, force: true });
}
process.stdout.write(
  [
    `| ${rounds} rounds, in turn | median | mean of the middle half | mean | all |`,
    '|---|---|---|---|---|',
    `| quiesce -- true, seen in the guest | ${median(quiesce)} ms | ${middle(quiesce)} ms | ${mean(quiesce)} ms | ${quiesce.join(' ')} |`,
    `| quiesce -- true, as it reports itself | ${median(reported)} ms | ${middle(reported)} ms | ${mean(reported)} ms | ${reported.join(' ')} |`,
    `| bare virsh batch, seen in the guest | ${median(batch)} ms | ${middle(batch)} ms | ${mean(batch)} ms | ${batch.join(' ')} |`,
    `Ratio of the medians ${(median(quiesce) / median(batch)).toFixed(2)}, of the means of the middle half ${(middle(quiesce) / middle(batch)).toFixed(2)}, of the means ${(mean(quiesce) / mean(batch)).toFixed(2)}; load ${(await execa('cat', ['/proc/loadavg'])).stdout}.`,
    '',
  ].join('\n'),
);
