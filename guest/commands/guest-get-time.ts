import type { Command } from '../command.ts';
import { JsonInteger } from '../json/value.ts';

/** Nanoseconds since 1970 in UTC, to the microsecond as qemu-ga has them. */
export const guestGetTime: Command = {
  name: 'guest-get-time',
  run: (context) => new JsonInteger(`${context.sys.realMicros()}000`),
};
