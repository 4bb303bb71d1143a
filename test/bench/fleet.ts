import { randomUUID } from 'node:crypto';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { Guest } from '../../host/demo/guest.ts';
import { combine, healthyAgent } from '../rig/agent-scripts.ts';
import { LoopBackend } from '../rig/backends.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { answer, type ScriptedAgent } from '../rig/scripted-agent.ts';
import { VirshWatch } from '../rig/virsh-watch.ts';
import { mebibytes, ratio, type Table, type Workplace } from './measure.ts';

const perBackend = 2;
/** Twelve on each of two hypervisors, six of them on each of two backends; every other one with an agent whose trim takes a known time. */
const perPlace = 6;
const junkMebibytes = 64;

interface Member {
  readonly guest: Guest;
  readonly backend: number;
  readonly agent: ScriptedAgent | null;
  /** How long its trim takes, where that is known beforehand. */
  readonly trimMs: number;
}

async function addMember(rig: Rig, backends: readonly LoopBackend[], backend: number, index: number, name: string): Promise<Member> {
  const uuid = randomUUID();
  await backends[backend]?.hold(rig.hypervisor, uuid);
  const disks = [{ sizeBytes: 512 * 2 ** 20 }];
  if (index % 2 === 0) return { guest: await (await rig.define({ name, uuid, disks })).boot(600_000), backend, agent: null, trimMs: 0 };
  const trimMs = 8000 + ((index * 7919 + backend * 104_729) % 5) * 1000;
  const script = combine(healthyAgent(), {
    'guest-fstrim': () => answer.after(trimMs, { paths: [{ path: '/', trimmed: 4096, minimum: 0 }] }),
  });
  return { ...(await rig.bootScripted({ name, uuid, disks }, script)), backend, trimMs };
}

async function allocated(guest: Guest): Promise<number> {
  return (await stat(guest.disk('vda').file ?? '')).blocks * 512;
}

interface TrimLine {
  readonly event?: string;
  readonly domain?: string;
  readonly status?: string;
  readonly seconds?: number;
}

/** No order of the trims can be faster: each backend works through its own, as many at a time as the limit lets in. */
function idealMs(members: readonly Member[], durationMs: (member: Member) => number): number {
  return Math.max(
    ...[0, 1].map((backend) => {
      const durations = members.filter((member) => member.backend === backend).map(durationMs);
      return Math.max(...durations, durations.reduce((sum, ms) => sum + ms, 0) / perBackend);
    }),
  );
}

/** The most trims at once on a backend, as the guests' own agents saw them begin. */
function overlap(members: readonly Member[], backend: number): number {
  const spans = members.flatMap(({ agent, trimMs, backend: own }) =>
    own === backend && agent !== null
      ? agent.received.filter(({ command }) => command === 'guest-fstrim').map(({ atMs }) => ({ from: atMs, to: atMs + trimMs }))
      : [],
  );
  return Math.max(0, ...spans.map(({ from }) => spans.filter((other) => other.from <= from && from < other.to).length));
}

/** Two dozen real guests on two hypervisors and two storage backends, all due at once. */
export async function benchFleet(work: Workplace): Promise<Table> {
  const backends = [await LoopBackend.create(16 * 2 ** 30), await LoopBackend.create(16 * 2 ** 30)];
  const rigs = [await startRig(), await startRig()];
  try {
    return await measureFleet(work, backends, rigs);
  } finally {
    for (const rig of rigs) await rig.dispose();
    for (const backend of backends) await backend[Symbol.asyncDispose]();
  }
}

async function measureFleet(work: Workplace, backends: readonly LoopBackend[], rigs: readonly Rig[]): Promise<Table> {
  const members: Member[] = [];
  for (const [h, rig] of rigs.entries()) {
    for (let index = 0; index < perPlace; index += 1) {
      members.push(...(await Promise.all([0, 1].map((backend) => addMember(rig, backends, backend, index, `m${h}${backend}${index}`)))));
    }
  }
  const real = members.filter(({ agent }) => agent === null);
  for (const { guest } of real) {
    await guest.runChecked(
      `dd if=/dev/urandom of=/mnt/vda/junk bs=1M count=${junkMebibytes} 2>/dev/null; sync; rm /mnt/vda/junk; sync`,
      300_000,
    );
  }
  const before = await Promise.all(real.map(({ guest }) => allocated(guest)));

  const [state, config] = [work.path('fleet-state'), work.path('fleet-config')];
  for (const directory of [state, config]) await mkdir(directory, { recursive: true, mode: 0o700 });
  const hosts = rigs.map((rig) => `'${rig.uri}'`).join(', ');
  const text = `hosts: [${hosts}]\ndefaults: { schedule: '0 * * * *', time-zone: UTC, window: 0 }\nlimits: { per-hypervisor: 12, per-backend: ${perBackend}, io-pressure: 100 }\n`;
  await writeFile(path.join(config, 'config.yaml'), text);
  const served = { covered: Date.now() - 5 * 3_600_000, plan: '0 * * * *|UTC|0|', seen: Date.now(), told: ['self-trim'] };
  const domains = Object.fromEntries(members.map(({ guest }) => [guest.uuid, served]));
  await writeFile(path.join(state, 'daemon.json'), JSON.stringify({ v: 1, domains }));

  const watch = new VirshWatch((uuid) => String(members.find(({ guest }) => guest.uuid === uuid)?.backend));
  const { stderr } = await execa(process.execPath, [work.main, 'daemon', '--once'], {
    reject: false,
    stdin: 'ignore',
    env: { VIRT_TRIM_STATE_DIR: state, VIRT_TRIM_CONFIG_DIR: config, VIRT_TRIM_LOG: 'json' },
  });
  await watch.stop();
  const lines = stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as TrimLine & { time: number }] : []));
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
      ['most at once on a backend, by the agents', [0, 1].map((backend) => overlap(members, backend)).join(', ')],
      ['… by virsh processes', ['0', '1'].map((backend) => watch.most.get(backend) ?? 0).join(', ')],
      ['wall time', `${(wallMs / 1000).toFixed(1)} s`],
      ["ideal packing of the guests' own trims (bar: 1.2)", `${(guests / 1000).toFixed(1)} s, ${ratio(wallMs, guests)}`],
      ['ideal packing with what we add to each', `${(slots / 1000).toFixed(1)} s, ${ratio(wallMs, slots)}`],
    ],
    note: 'Half of the guests have the real qemu-ga and dirty file systems; the trims of the other half take 8 to 12 s, known beforehand, so that the ideal is known too: no real trim is counted in it. Real libvirt, QEMU and kernels throughout.',
  };
}
