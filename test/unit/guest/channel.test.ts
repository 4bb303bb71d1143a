import { expect, test } from 'vitest';
import { Channel, type Transport } from '../../../guest/channel.ts';
import { Loop } from '../../../guest/loop.ts';
import { pollFlags, signalFlags } from '../../../guest/sys.ts';
import { FakeSys } from './fake-sys.ts';

/** A port with a host that comes and goes: what poll, read and write see of it. */
class PortSys extends FakeSys {
  connected = true;
  input: string[] = [];
  /** How many bytes the host takes until it reads again. */
  room = Infinity;
  output = '';
  async = false;
  signals = 0;
  polls = 0;
  lastPolled: readonly number[] = [];

  override poll(fds: readonly number[] = [], wanted: readonly number[] = [], events: number[] = []): number {
    this.polls++;
    this.lastPolled = [...fds];
    let ready = 0;
    for (const [at, fd] of fds.entries()) {
      const hangUp = this.connected ? 0 : pollFlags.hangUp;
      const readable = this.input.length > 0 ? pollFlags.in : 0;
      const writable = this.room > 0 && this.connected ? pollFlags.out : 0;
      events[at] = fd < 0 ? 0 : hangUp | ((readable | writable) & (wanted[at] ?? 0));
      if (events[at] !== 0) ready++;
    }
    return ready;
  }

  override takeSignals(): number {
    const { signals } = this;
    this.signals = 0;
    return signals;
  }

  override read(): string | number {
    return this.input.shift() ?? (this.connected ? -11 : '');
  }

  override readWasPlain(): boolean {
    return true;
  }

  override write(_fd: number, bytes: string): number {
    const part = bytes.slice(0, this.room);
    if (part === '') return -11;
    this.room -= part.length;
    this.output += part;
    return part.length;
  }

  override setAsync(_fd = 0, on = false): number {
    this.async = on;
    return 0;
  }
}

function connect(transport: Transport = 'virtio-serial') {
  const sys = new PortSys();
  const seen: string[] = [];
  const channel = new Channel({ sys, transport, fd: 7, onBytes: (bytes) => seen.push(bytes), onClientLeft: () => seen.push('left') });
  const loop = new Loop(sys, [channel], { waitMs: -1, tick: () => undefined });
  return { sys, seen, channel, loop };
}

test('bytes go to the reader, answers to the host', () => {
  const { sys, seen, channel, loop } = connect();
  sys.input.push('{"a":1}');
  loop.turn();
  channel.send('answer\n');
  expect([seen, sys.output]).toEqual([['{"a":1}'], 'answer\n']);
});

test('the host leaves: what it left unread is dropped, the port is not polled until SIGIO says that somebody came', () => {
  const { sys, seen, channel, loop } = connect();
  sys.room = 3;
  channel.send('answer\n');
  sys.input.push('half a requ');
  sys.connected = false;
  loop.turn();
  expect(seen).toEqual(['left']);
  expect(sys.input).toEqual([]);
  expect([channel.fd, sys.async]).toEqual([-1, true]);
  loop.turn();
  expect(sys.lastPolled).toEqual([-1]);
  channel.send('nobody hears this\n');

  sys.signals = signalFlags.io; // a signal while nobody is there
  loop.turn();
  expect(channel.fd).toBe(-1);
  sys.connected = true;
  sys.room = Infinity;
  sys.signals = signalFlags.io;
  loop.turn();
  expect([channel.fd, sys.async]).toEqual([7, false]);
  channel.send('hello\n');
  expect(sys.output).toBe('anshello\n'); // and nothing of the old answer
});

test('who came before SIGIO was switched on is not missed', () => {
  const { sys, seen, channel, loop } = connect();
  sys.connected = false;
  const poll = sys.poll.bind(sys);
  sys.poll = (fds, wanted, events) => {
    const ready = poll(fds, wanted, events);
    sys.connected = true; // right after this poll
    return ready;
  };
  loop.turn();
  expect(seen).toEqual(['left']);
  expect(channel.fd).toBe(7);
});

test('answers that the host does not fetch: no more requests are read, and the rest follows when it does', () => {
  const { sys, seen, channel, loop } = connect();
  sys.room = 0;
  for (let i = 0; i < 20; i++) channel.send(`${'x'.repeat(100_000)}\n`);
  sys.input.push('request');
  loop.turn();
  expect(seen).toEqual([]);
  sys.room = Infinity;
  loop.turn();
  loop.turn();
  expect(sys.output.length).toBe(20 * 100_001);
  expect(seen).toEqual(['request']);
});

test('a port that fails is given up; a socket takes the next client', () => {
  const broken = connect();
  broken.sys.read = () => -5;
  broken.sys.input.push('x');
  broken.loop.turn();
  expect([broken.channel.brokenBy, broken.channel.fd]).toEqual([-5, -1]);

  const socket = connect('unix-listen');
  socket.sys.input.push('anything');
  socket.loop.turn(); // accepts
  expect(socket.channel.fd).toBe(4);
  socket.sys.read = () => '';
  socket.loop.turn();
  expect([socket.seen, socket.channel.fd]).toEqual([['left'], 7]);
});
