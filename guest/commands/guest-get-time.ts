import type { Command } from '../command.ts';

/** Nanoseconds since 1970 in UTC, to the microsecond as qemu-ga has them. */
export const guestGetTime: Command = {
  name: 'guest-get-time',
  run: (context) => (context.sys.realNs() / 1000n) * 1000n,
};
