import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { Daemon } from '../../host/daemon/daemon.ts';
import { ServiceMemory } from '../../host/daemon/memory.ts';
import { parseConfig } from '../../host/policy/parse-config.ts';
import type { Clock } from '../../host/schedule/clock.ts';

/** Real timers, whose time runs so many times faster. */
function fastClock(factor: number): Clock {
  const realStart = performance.now();
  const start = Date.now();
  const now = (): number => start + (performance.now() - realStart) * factor;
  return {
    now,
    wakeAt(time, call) {
      const timer = setTimeout(call, Math.max(0, (time - now()) / factor));
      return () => clearTimeout(timer);
    },
    everyMinute(call) {
      let busy = false;
      const timer = setInterval(() => {
        if (busy) return;
        busy = true;
        void call().finally(() => {
          busy = false;
        });
      }, 60_000 / factor);
      return () => clearInterval(timer);
    },
  };
}

/** What may leak, at one moment. */
export interface Footprint {
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly children: number;
  readonly timers: number;
}

async function children(): Promise<number> {
  let count = 0;
  for (const name of await readdir('/proc')) {
    const status = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') : '';
    if (Number(/^\d+ \(.*\) \S (\d+)/s.exec(status)?.[1]) === process.pid) count += 1;
  }
  return count;
}

export async function footprint(): Promise<Footprint> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  await sleep(20);
  collect();
  return {
    heapBytes: process.memoryUsage().heapUsed,
    descriptors: (await readdir('/proc/self/fd')).length,
    children: await children(),
    timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
  };
}

export interface Cycles {
  readonly before: Footprint;
  /** After each quarter of the time, while it works. */
  readonly quarters: readonly Footprint[];
  /** After its stop. */
  readonly after: Footprint;
  readonly trims: number;
  readonly minutes: number;
}

/** A daemon of this process works for so many hours, pressed together: discovery, recover, planning and trims are all real. */
export async function runCycles(uris: readonly string[], settings: { hours: number; factor: number; config: string }): Promise<Cycles> {
  const stateDirectory = await mkdtemp(path.join(tmpdir(), 'virt-trim-cycles-'));
  let trims = 0;
  const count = (line: string): void => void (trims += line.includes('"event":"trim"') ? 1 : 0);
  const log = pino({ level: 'info', base: null }, { write: count });
  const before = await footprint();
  const clock = fastClock(settings.factor);
  const startedAt = clock.now();
  const daemon = new Daemon({
    clock,
    env: {},
    log,
    stateDirectory,
    memory: await ServiceMemory.open(path.join(stateDirectory, 'daemon.json')),
    uris,
    config: parseConfig(settings.config, 'cycles.yaml'),
    spreadMissed: true,
  });
  const passed = async (hours: number): Promise<void> => {
    while (clock.now() - startedAt < hours * 3_600_000) await sleep(50);
  };
  /** Between two trims and two looks: what is in the middle of something is no leak. */
  const quiet = async (): Promise<Footprint> => {
    let look = await footprint();
    for (let tries = 0; tries < 100 && (look.children > before.children || daemon.busy); tries += 1) {
      await sleep(30);
      look = await footprint();
    }
    return look;
  };
  try {
    await daemon.start();
    const quarters: Footprint[] = [];
    for (let quarter = 1; quarter <= 4; quarter += 1) {
      await passed((settings.hours / 4) * quarter);
      quarters.push(await quiet());
    }
    const minutes = Math.round((clock.now() - startedAt) / 60_000);
    await daemon.stop(600_000);
    await sleep(200);
    return { before, quarters, after: await footprint(), trims, minutes };
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
}
