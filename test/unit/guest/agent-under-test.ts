import { commandTable } from '../../../guest/commands/table.ts';
import { Dispatcher } from '../../../guest/dispatcher.ts';
import { Freezer } from '../../../guest/freeze/freezer.ts';
import { Marker } from '../../../guest/freeze/marker.ts';
import { Log } from '../../../guest/log.ts';
import { Trimmer } from '../../../guest/trim/trimmer.ts';
import { Worker } from '../../../guest/worker.ts';
import { makeGuest } from './fake-sys.ts';
import type { FakeSys } from './fake-sys.ts';

/** The agent's core without its loop, on a machine in memory: time and blocking work pass when the test says so. */
export class AgentUnderTest {
  readonly sys: FakeSys;
  readonly freezer: Freezer;
  readonly worker: Worker;
  readonly marker: Marker;
  readonly dispatcher: Dispatcher;
  sent = '';

  constructor(sys: FakeSys = makeGuest(), blocked: readonly string[] = []) {
    this.sys = sys;
    const log = new Log(sys, { verbose: false });
    this.worker = new Worker(sys);
    this.marker = new Marker(sys, '/run', '/dev/port');
    this.freezer = new Freezer({ sys, log, worker: this.worker, marker: this.marker, defaultSeconds: 300 });
    this.freezer.restore();
    this.dispatcher = new Dispatcher({
      commands: commandTable,
      isBlocked: (name) => blocked.includes(name),
      context: { sys, log, freezer: this.freezer, trimmer: new Trimmer({ sys, log, worker: this.worker }) },
      send: (bytes) => {
        this.sent += bytes;
      },
    });
  }

  /** Everything that the bytes are answered with at once, with blocking work done unless `sys.holdWork`. */
  ask(bytes: string): string {
    this.sent = '';
    this.dispatcher.feed(bytes);
    this.finishWork();
    return this.sent;
  }

  /** The answer to one command. */
  call(execute: string, args?: unknown): { return?: unknown; error?: { class: string; desc: string } } {
    return JSON.parse(this.ask(JSON.stringify(args === undefined ? { execute } : { execute, arguments: args }))) as never;
  }

  finishWork(): void {
    while (this.worker.busy && !this.sys.holdWork) this.worker.finish();
  }

  /** Time passes, and the loop turns. */
  wait(seconds: number): void {
    this.sys.nowMs += seconds * 1000;
    this.freezer.tick();
  }
}
