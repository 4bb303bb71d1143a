import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ourAgent, qemuGa, SocketAgent } from '../contract/guest-agents.ts';

/**
 * The table of the two agents, side by side in one run: `npx tsx test/bench/guest-agent.ts [ROUNDS]`. Each figure is the median of the
 * rounds, which take turns. On a busy machine only the relation of the two columns says something.
 */
const rounds = Number(process.argv[2] ?? 5);
const pings = 20_000;

interface Figures {
  fileKb: number;
  withLibrariesKb: number;
  residentKb: number;
  firstAnswerMs: number;
  pingsPerSecond: number;
  microsPerPing: number;
  switchesConnected: number;
  switchesGone: number;
  ticksLeft: number;
}

/** The file, and every library that the dynamic linker names for it. */
function measureFiles(program: string): { fileKb: number; withLibrariesKb: number } {
  const listed = spawnSync('ldd', [program], { encoding: 'utf8' }).stdout;
  const libraries = [...listed.matchAll(/(\/\S+)\s+\(0x/g)].map((match) => realpathSync(match[1] ?? ''));
  const sizes = [realpathSync(program), ...libraries].map((path) => statSync(path).size);
  return { fileKb: (sizes[0] ?? 0) / 1000, withLibrariesKb: sizes.reduce((sum, size) => sum + size, 0) / 1000 };
}

const switches = (agent: SocketAgent): number => agent.status('voluntary_ctxt_switches') + agent.status('nonvoluntary_ctxt_switches');

/** Nanoseconds on the CPU so far, threads included. */
function cpuNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce(
    (sum, task) => sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]),
    0,
  );
}

async function measure(program: string): Promise<Figures> {
  const files = measureFiles(program);
  await using agent = new SocketAgent(program);
  const port = await agent.open();
  await port.ask('guest-ping');
  const residentKb = agent.status('VmRSS');
  const cpu = cpuNs(agent.pid);
  const from = performance.now();
  for (let i = 0; i < pings; i++) await pingOnce(port);
  const seconds = (performance.now() - from) / 1000;
  const microsPerPing = (cpuNs(agent.pid) - cpu) / 1000 / pings;
  await sleep(200);
  const connected = switches(agent);
  await sleep(10_000);
  const switchesConnected = switches(agent) - connected;
  port.close();
  await sleep(200);
  const gone = switches(agent);
  await sleep(10_000);
  const switchesGone = switches(agent) - gone;
  await port.open();
  for (let i = 0; i < 500; i++) port.send('{"execute":"guest-info"}\n');
  await sleep(20);
  port.close();
  await sleep(1000);
  const left = cpuNs(agent.pid);
  await sleep(2000);
  const ticksLeft = (cpuNs(agent.pid) - left) / 1e9 / 2;
  return {
    ...files,
    residentKb,
    firstAnswerMs: await measureStart(program),
    pingsPerSecond: pings / seconds,
    microsPerPing,
    switchesConnected,
    switchesGone,
    ticksLeft,
  };
}

/** The next answer without the polling of GuestPort.next, which would be what is measured. */
function pingOnce(port: SocketAgent['port']): Promise<void> {
  return port.exchange('{"execute":"guest-ping"}\n');
}

async function measureStart(program: string): Promise<number> {
  const from = performance.now();
  await using agent = new SocketAgent(program);
  const port = await agent.open();
  await port.ask('guest-ping');
  return performance.now() - from;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const runs: { ours: Figures[]; theirs: Figures[] } = { ours: [], theirs: [] };
for (let round = 0; round < rounds; round++) {
  runs.ours.push(await measure(ourAgent));
  runs.theirs.push(await measure(qemuGa));
}
const rows: readonly [string, keyof Figures, number][] = [
  ['file, kB', 'fileKb', 0],
  ['file and libraries, kB', 'withLibrariesKb', 0],
  ['resident, kB', 'residentKb', 0],
  ['spawn to first answer, ms', 'firstAnswerMs', 1],
  ['pings per second', 'pingsPerSecond', 0],
  ['CPU per ping, µs', 'microsPerPing', 1],
  ['context switches in 10 s, client connected', 'switchesConnected', 0],
  ['context switches in 10 s, client gone', 'switchesGone', 0],
  ['CPU share after a client left its answers unread', 'ticksLeft', 3],
];
process.stdout.write(`| figure (median of ${rounds}) | virt-trim-agent | qemu-ga |\n|---|---|---|\n`);
for (const [name, key, digits] of rows) {
  const cells = [runs.ours, runs.theirs].map((figures) => median(figures.map((it) => it[key])).toFixed(digits));
  process.stdout.write(`| ${name} | ${cells.join(' | ')} |\n`);
}
