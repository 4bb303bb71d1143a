import { commandTable } from '../../guest/commands/table.ts';
import { Dispatcher } from '../../guest/dispatcher.ts';
import { Freezer } from '../../guest/freeze/freezer.ts';
import { Marker } from '../../guest/freeze/marker.ts';
import { Log } from '../../guest/log.ts';
import { Trimmer } from '../../guest/trim/trimmer.ts';
import { Worker } from '../../guest/worker.ts';
import { makeGuest } from '../unit/guest/fake-sys.ts';
import type { FakeSys } from '../unit/guest/fake-sys.ts';

/** Meaning of an input's first byte: how the rest reaches the agent, and what machine it finds. */
const chunkMask = 0x0f;
/** Most inputs come whole; the others in pieces of so many bytes. */
const chunkSizes: readonly number[] = [0, 1, 3, 7];
/** A machine with two filesystems, on which a freeze outlives the agent; else one with one and no tmpfs, at half the time. */
const fullMachineBit = 0x20;
/** An input ends with its first error, or goes on until the third: each costs more than all the rest, and hardly ever shows anything new. */
const goOnBit = 0x10;
const holdWorkBit = 0x40;
const clockBit = 0x80;

const markerPath = '/run/virt-trim-agent.frozen';
const rootMount = '20 1 254:1 / / rw - ext4 /dev/vda1 rw\n';
const secondMount = '23 20 254:16 / /d rw - xfs /dev/vdb rw\n';

/** What takes no input and reads half of /sys: blocked, because the time is better spent on what the host sends. */
const slow = ['guest-get-fsinfo', 'guest-get-disks', 'guest-network-get-interfaces', 'guest-get-osinfo', 'guest-get-users', 'guest-info'];

/** Longer than any watchdog that may have been set. */
const longMs = 100_000_000;

/** A hundred bytes of rubbish are a hundred times the same answer. */
const maxErrors = 2;

/** What the pretended client throws when it has had enough. */
class Enough extends Error {}
const enough = new Enough('enough');

/** Whether bytes are printable ASCII and newlines: native in the fuzzer, where a loop over every byte was a third of the time. */
export type IsPlain = (bytes: string) => boolean;

/**
 * The request path on a machine in memory, for the fuzzer and for replaying its corpus: bytes go in as a client would send them,
 * freezes and trims run or hang, the clock passes the watchdog's deadline, the client leaves. Throws when an answer is not one line
 * of JSON in ASCII, when something stays frozen, or when a descriptor is left open.
 */
export class FuzzTarget {
  private readonly full: Machine;
  private readonly light: Machine;
  private readonly isPlain: IsPlain;
  private errorsLeft = 0;
  private feeding = false;
  readonly answers: string[] = [];

  constructor(isPlain: IsPlain = isPlainBytes) {
    this.isPlain = isPlain;
    const send = (bytes: string): void => {
      this.answers.push(bytes);
      if (bytes.startsWith('{"error"') && --this.errorsLeft < 0 && this.feeding) throw enough;
    };
    this.full = makeMachine(true, send);
    this.light = makeMachine(false, send);
  }

  run(input: string): void {
    this.answers.length = 0;
    const mode = input.charCodeAt(0);
    this.errorsLeft = mode & goOnBit ? maxErrors : 0;
    const machine = mode & fullMachineBit ? this.full : this.light;
    const chunk = (chunkSizes[mode & chunkMask] ?? 0) || input.length;
    for (let at = 1; at < input.length && this.errorsLeft >= 0; at += chunk) {
      this.feed(machine, input.slice(at, at + chunk));
      if ((mode & holdWorkBit) === 0) finishWork(machine);
      if (mode & clockBit) machine.sys.nowMs += longMs;
      machine.freezer.tick();
    }
    machine.dispatcher.clientLeft();
    finishWork(machine);
    for (const answer of this.answers) this.checkAnswer(answer);
    const { sys, freezer } = machine;
    if (this.answers.length > 0 || sys.done.length > 0 || sys.openCount > 0 || freezer.status !== 'thawed') {
      endFreeze(machine, (mode & clockBit) !== 0);
    }
    sys.logged.length = 0;
  }

  private feed(machine: Machine, bytes: string): void {
    this.feeding = true;
    try {
      machine.dispatcher.feed(bytes, this.isPlain(bytes));
    } catch (thrown) {
      if (thrown !== enough) throw thrown;
    }
    this.feeding = false;
  }

  private checkAnswer(answer: string): void {
    const from = answer.charCodeAt(0) === 0xff ? 1 : 0;
    if (!answer.startsWith('{"return": ', from) && !answer.startsWith('{"error": {"class": "', from))
      throw new Error(`no answer: ${answer}`);
    if (!answer.endsWith('}\n') || answer.indexOf('\n') !== answer.length - 1) throw new Error(`not a line: ${answer}`);
    if (!this.isPlain(from === 0 ? answer : answer.slice(1))) throw new Error(`not ASCII: ${answer}`);
  }
}

interface Machine {
  readonly sys: FakeSys;
  readonly worker: Worker;
  readonly freezer: Freezer;
  readonly dispatcher: Dispatcher;
}

function makeMachine(full: boolean, send: (bytes: string) => void): Machine {
  const sys = makeGuest();
  sys.files.set('/proc/self/mountinfo', full ? rootMount + secondMount : rootMount);
  sys.mounted.set('/d', '254:16');
  if (!full) sys.filesystemTypes.delete('/run');
  const log = new Log(sys, { verbose: false });
  const worker = new Worker(sys);
  const freezer = new Freezer({ sys, log, worker, marker: new Marker(sys, '/run', ''), defaultSeconds: 300 });
  const dispatcher = new Dispatcher({
    commands: commandTable,
    isBlocked: (name) => slow.includes(name),
    context: { sys, log, freezer, trimmer: new Trimmer({ sys, log, worker }) },
    send,
  });
  return { sys, worker, freezer, dispatcher };
}

function finishWork({ worker }: Machine): void {
  while (worker.busy) worker.finish();
}

/** Whatever the input did, the watchdog ends it. */
function endFreeze({ sys, freezer, dispatcher }: Machine, mayBeLate: boolean): void {
  const frozen = freezer.status !== 'thawed';
  sys.nowMs += longMs;
  freezer.tick();
  if (freezer.status !== 'thawed') throw new Error('still frozen after the watchdog');
  for (const filesystem of sys.filesystems.values()) {
    if (filesystem.frozen !== 0) throw new Error(`${filesystem.device} is still frozen`);
  }
  if (sys.openCount !== 0) throw new Error(`${sys.openCount} descriptors are left open`);
  sys.done.length = 0;
  // What was set for a freeze that did not come.
  freezer.setWatchdog(300);
  // The late thaw is told once, and not to the next input.
  if (frozen || mayBeLate) dispatcher.feed('{"execute":"guest-fsfreeze-thaw"}', true);
  if (sys.files.has(markerPath)) throw new Error('the marker outlives the thaw');
}

/** As the native read tells it. */
function isPlainBytes(bytes: string): boolean {
  for (let at = 0; at < bytes.length; at++) {
    const c = bytes.charCodeAt(at);
    if ((c < 0x20 && c !== 0x0a) || c > 0x7e) return false;
  }
  return true;
}
