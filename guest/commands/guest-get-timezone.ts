import type { Command } from '../command.ts';

/** The offset that holds now, in seconds east of UTC. */
export const guestGetTimezone: Command = {
  name: 'guest-get-timezone',
  run: (context) => {
    const { name, offsetSeconds } = context.sys.timeZone();
    return { zone: name, offset: offsetSeconds };
  },
};
