import { Channel } from './channel.ts';
import { commandTable } from './commands/table.ts';
import { Dispatcher } from './dispatcher.ts';
import { EAGAIN, errorWords } from './errno.ts';
import { Freezer } from './freeze/freezer.ts';
import { Marker } from './freeze/marker.ts';
import { Log } from './log.ts';
import { Loop } from './loop.ts';
import type { Source } from './loop.ts';
import { trimOnce } from './once.ts';
import { isBlocked } from './settings.ts';
import type { Options } from './settings.ts';
import { openFlags, pollFlags, signalFlags } from './sys.ts';
import type { Sys } from './sys.ts';
import { Trimmer } from './trim/trimmer.ts';
import { agentVersion } from './version.ts';
import { Worker } from './worker.ts';

/** How often a port that is not there is looked for with `-r`. */
const retryMs = 5000;

/** Everything of one agent process, wired. Returns its exit status. */
export function runAgent(sys: Sys, options: Options): number {
  const log = new Log(sys, { path: options.logFile, verbose: options.verbose });
  const worker = new Worker(sys);
  const trimmer = new Trimmer({ sys, log, worker });
  const path = options.path ?? '';
  const marker = new Marker(sys, options.stateDirectory, path);
  if (options.action === 'once') {
    sys.dropPrivileges();
    return trimOnce({ sys, options, log, worker, trimmer, marker });
  }
  if (options.daemonize) sys.daemonize();
  const freezer = new Freezer({ sys, log, worker, marker, defaultSeconds: options.watchdogSeconds });
  if (options.daemonize && !writePidFile(sys, options.pidFile)) {
    log.write('error', `${options.pidFile} is locked: another agent runs`);
    return 1;
  }
  // Before the port is opened: the first request must find the state that a killed predecessor left.
  freezer.restore();
  const port = openPort(sys, options, log);
  if (port === undefined) return 1;
  if (marker.path === undefined) log.write('warning', `no tmpfs to keep the frozen state on (${options.stateDirectory}, /run, /dev/shm)`);
  const locked = sys.lockMemory();
  if (locked < 0) log.write('debug', `memory is not locked: ${errorWords(locked)}`);
  const dropped = sys.dropPrivileges();
  if (dropped < 0) log.write('debug', `privileges are not dropped: ${errorWords(dropped)}`);
  log.write('debug', `virt-trim-agent ${agentVersion} listens on ${path}`);

  const channel: Channel = new Channel({
    sys,
    transport: options.method,
    fd: port,
    onBytes: (bytes, plain) => dispatcher.feed(bytes, plain),
    onClientLeft: () => dispatcher.clientLeft(),
  });
  const dispatcher: Dispatcher = new Dispatcher({
    commands: commandTable,
    isBlocked: (name) => isBlocked(options, name),
    context: { sys, log, freezer, trimmer },
    send: (bytes) => channel.send(bytes),
  });
  const status = serve(new Loop(sys, [channel, workSource(worker)], freezer), freezer, channel);
  if (status !== 0) log.write('error', `error reading channel ${path}: ${errorWords(status)}`);
  if (options.daemonize) sys.unlink(options.pidFile);
  return status === 0 ? 0 : 1;
}

/** Until it is told to end, or its port is gone. While the guest is frozen it does neither: somebody has to thaw it. */
function serve(loop: Loop, freezer: Freezer, channel: Channel): number {
  let ending = false;
  for (;;) {
    if (freezer.status === 'thawed') {
      if (channel.brokenBy !== undefined) return channel.brokenBy;
      if (ending) return 0;
    }
    if (loop.turn() & signalFlags.terminate) ending = true;
  }
}

function workSource(worker: Worker): Source {
  return {
    get fd() {
      return worker.busy ? worker.fd : -1;
    },
    wanted: pollFlags.in,
    onReady: () => worker.finish(),
  };
}

function openPort(sys: Sys, options: Options, log: Log): number | undefined {
  const path = options.path ?? '';
  for (;;) {
    const fd = openTransport(sys, options, path);
    if (fd >= 0) return fd;
    log.write('error', `error opening channel '${path}': ${errorWords(fd)}`);
    sys.write(2, `virt-trim-agent: error opening channel '${path}': ${errorWords(fd)}\n`);
    if (!options.retryPath) return undefined;
    sys.sleepMs(retryMs);
    if (sys.takeSignals() & signalFlags.terminate) return undefined;
  }
}

function openTransport(sys: Sys, options: Options, path: string): number {
  if (options.method === 'unix-listen') return sys.listenUnix(path);
  const fd = sys.open(path, openFlags.readWrite | openFlags.nonBlocking | openFlags.noTty);
  if (fd >= 0 && options.method === 'isa-serial') {
    const raw = sys.makeRaw(fd);
    if (raw < 0) return raw;
  }
  return fd;
}

function writePidFile(sys: Sys, path: string): boolean {
  const fd = sys.open(path, openFlags.readWrite | openFlags.create);
  if (fd < 0) return fd !== -EAGAIN;
  if (sys.lock(fd) < 0) return false;
  sys.write(fd, `${sys.processId()}\n`);
  return true;
}
