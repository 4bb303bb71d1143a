import type { Command } from '../command.ts';
import { JsonFloat } from '../json/value.ts';
import { QgaError } from '../qga-error.ts';
import { readLine } from '../text-file.ts';

/** Not in qemu-ga 7.2: from QEMU 9.2 on, whose schema this follows. */
export const guestGetLoad: Command = {
  name: 'guest-get-load',
  run: (context) => {
    const [one, five, fifteen] = (readLine(context.sys, '/proc/loadavg') ?? '').split(' ').map(Number);
    if (one === undefined || five === undefined || fifteen === undefined) throw new QgaError('failed to query load average');
    return { load1m: new JsonFloat(one), load5m: new JsonFloat(five), load15m: new JsonFloat(fifteen) };
  },
};
