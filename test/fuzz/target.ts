import { commandTable } from '../../guest/commands/table.ts';
import { Dispatcher } from '../../guest/dispatcher.ts';
import { Freezer } from '../../guest/freeze/freezer.ts';
import { Marker } from '../../guest/freeze/marker.ts';
import { Log } from '../../guest/log.ts';
import { Trimmer } from '../../guest/trim/trimmer.ts';
import { Worker } from '../../guest/worker.ts';
import { makeGuest } from '../unit/guest/fake-sys.ts';

/** Meaning of an input's first byte: how the rest reaches the agent. */
const chunkMask = 0x0f;
/** Most inputs come whole; the others in pieces of so many bytes. */
const chunkSizes: readonly number[] = [0, 1, 3, 7];
const holdWorkBit = 0x40;
const clockBit = 0x80;

const markerPath = '/run/virt-trim-agent.frozen';

/** What takes no input and reads half of /sys: blocked, because the time is better spent on what the host sends. */
const slow = ['guest-get-fsinfo', 'guest-get-disks', 'guest-network-get-interfaces', 'guest-get-osinfo', 'guest-get-users', 'guest-info'];

/** Longer than any watchdog that may have been set. */
const longMs = 100_000_000;

/**
 * The request path on a machine in memory, for the fuzzer and for replaying its corpus: bytes go in as a client would send them,
 * freezes and trims run or hang, the clock passes the watchdog's deadline, the client leaves. Throws when an answer is not one line
 * of JSON in ASCII, when something stays frozen, or when a descriptor is left open.
 */
export class FuzzTarget {
  private readonly sys = makeGuest();
  private readonly worker: Worker;
  private readonly freezer: Freezer;
  private readonly dispatcher: Dispatcher;
  readonly answers: string[] = [];

  constructor() {
    const { sys } = this;
    sys.files.set('/proc/self/mountinfo', '20 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 20 254:16 / /d rw - xfs /dev/vdb rw\n');
    sys.mounted.set('/d', '254:16');
    const log = new Log(sys, { verbose: false });
    this.worker = new Worker(sys);
    this.freezer = new Freezer({ sys, log, worker: this.worker, marker: new Marker(sys, '/run', ''), defaultSeconds: 300 });
    this.dispatcher = new Dispatcher({
      commands: commandTable,
      isBlocked: (name) => slow.includes(name),
      context: { sys, log, freezer: this.freezer, trimmer: new Trimmer({ sys, log, worker: this.worker }) },
      send: (bytes) => this.answers.push(bytes),
    });
  }

  run(input: string): void {
    this.answers.length = 0;
    const mode = input.charCodeAt(0);
    const chunk = (chunkSizes[mode & chunkMask] ?? 0) || input.length;
    for (let at = 1; at < input.length; at += chunk) {
      const bytes = input.slice(at, at + chunk);
      this.dispatcher.feed(bytes, isPlain(bytes));
      if ((mode & holdWorkBit) === 0) this.finishWork();
      if (mode & clockBit) this.sys.nowMs += longMs;
      this.freezer.tick();
    }
    this.dispatcher.clientLeft();
    this.finishWork();
    for (const answer of this.answers) checkAnswer(answer);
    this.endFreeze();
  }

  private finishWork(): void {
    while (this.worker.busy) this.worker.finish();
  }

  /** Whatever the input did, the watchdog ends it. */
  private endFreeze(): void {
    this.sys.nowMs += longMs;
    this.freezer.tick();
    if (this.freezer.status !== 'thawed') throw new Error('still frozen after the watchdog');
    for (const filesystem of this.sys.filesystems.values()) {
      if (filesystem.frozen !== 0) throw new Error(`${filesystem.device} is still frozen`);
    }
    if (this.sys.openCount !== 0) throw new Error(`${this.sys.openCount} descriptors are left open`);
    this.sys.logged.length = 0;
    this.sys.done.length = 0;
    // What was set for a freeze that did not come.
    this.freezer.setWatchdog(300);
    // The late thaw is told once, and not to the next input.
    if (this.sys.files.has(markerPath)) this.dispatcher.feed('{"execute":"guest-fsfreeze-thaw"}');
    if (this.sys.files.has(markerPath)) throw new Error('the marker outlives the thaw');
  }
}

/** As the native read tells it. */
function isPlain(bytes: string): boolean {
  for (let at = 0; at < bytes.length; at++) {
    const c = bytes.charCodeAt(at);
    if ((c < 0x20 && c !== 0x0a) || c > 0x7e) return false;
  }
  return true;
}

function checkAnswer(answer: string): void {
  const from = answer.charCodeAt(0) === 0xff ? 1 : 0;
  if (!answer.startsWith('{"return": ', from) && !answer.startsWith('{"error": {"class": "', from)) throw new Error(`no answer: ${answer}`);
  if (!answer.endsWith('}\n')) throw new Error(`not a line: ${answer}`);
  for (let at = from; at < answer.length - 1; at++) {
    const c = answer.charCodeAt(at);
    if (c < 0x20 || c > 0x7e) throw new Error(`byte ${c} in an answer: ${answer}`);
  }
}
