import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { listBlocked, qemuGa, SocketAgent } from '../contract/guest-agents.ts';
import { ownAgentProgram as ourAgent } from '../rig/default-agent.ts';
import { median, ratio, type Table } from './measure.ts';

/** Each figure is the median of the rounds, which take turns. On a busy machine only the relation of the two columns says something. */
const rounds = 5;
const pings = 20_000;
const starts = 40;

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
    firstAnswerMs: measureStart(program),
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

/**
 * In Python, whose loop is closer to the system calls than Node's: starts the program, tries to connect until it listens, asks once, and
 * prints the milliseconds from fork to answer. Every connection that is refused counts for the program.
 */
const startTimer = `
import os, signal, socket, sys, time
path = sys.argv[1]
for turn in range(int(sys.argv[2])):
    if os.path.exists(path):
        os.unlink(path)
    begin = time.perf_counter()
    pid = os.posix_spawn(sys.argv[3], sys.argv[3:], os.environ)
    while True:
        try:
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            break
        except OSError:
            client.close()
    client.send(b'{"execute":"guest-ping"}\\n')
    client.recv(100)
    print((time.perf_counter() - begin) * 1000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    client.close()
`;

function measureStart(program: string): number {
  const directory = mkdtempSync(join(tmpdir(), 'agent-start-'));
  const socket = join(directory, 'sock');
  const agent = [program, '-m', 'unix-listen', '-p', socket, '-t', directory, '-b', listBlocked(program)];
  const { stdout, stderr } = spawnSync('python3', ['-c', startTimer, socket, String(starts), ...agent], { encoding: 'utf8' });
  rmSync(directory, { recursive: true });
  const times = stdout.trim().split('\n').map(Number);
  if (times.length !== starts) throw new Error(`${program}: ${stderr}`);
  return median(times);
}

/** `npm run bench -- guest-agent`: both agents on a socket of this machine, nothing else differing. */
export async function benchGuestAgent(): Promise<Table> {
  const runs: { ours: Figures[]; theirs: Figures[] } = { ours: [], theirs: [] };
  for (let round = 0; round < rounds; round++) {
    runs.ours.push(await measure(ourAgent));
    runs.theirs.push(await measure(qemuGa));
  }
  const { stdout: version } = spawnSync(qemuGa, ['-V'], { encoding: 'utf8' });
  const body = figures.map(([name, key, digits]) => {
    const [mine = 0, other = 0] = [runs.ours, runs.theirs].map((list) => median(list.map((it) => it[key])));
    return [name, mine.toFixed(digits), other.toFixed(digits), other === 0 ? '-' : ratio(mine, other)];
  });
  return {
    title: 'Guest agent',
    head: [`median of ${rounds}`, 'virt-trim-agent', version.trim(), 'ours to theirs'],
    rows: body,
    note: `Bar: one file of 1 MiB at most, a third of its resident memory, no wake-ups, a rate within 10 %. From fork to the first answer: median of ${rounds} × ${starts} starts.`,
  };
}

const figures: readonly [string, keyof Figures, number][] = [
  ['file, kB', 'fileKb', 0],
  ['file and libraries, kB', 'withLibrariesKb', 0],
  ['resident, kB', 'residentKb', 0],
  ['fork to first answer, ms', 'firstAnswerMs', 2],
  ['pings per second', 'pingsPerSecond', 0],
  ['CPU per ping, µs', 'microsPerPing', 1],
  ['context switches in 10 s, client connected', 'switchesConnected', 0],
  ['context switches in 10 s, client gone', 'switchesGone', 0],
  ['CPU share after a client left its answers unread', 'ticksLeft', 3],
];
