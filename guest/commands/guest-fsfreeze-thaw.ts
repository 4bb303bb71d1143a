import type { Command } from '../command.ts';

/** Answers how many filesystems it thawed; an error, once, when the watchdog was quicker. */
export const guestFsfreezeThaw: Command = {
  name: 'guest-fsfreeze-thaw',
  whileFrozen: true,
  besideJob: true,
  run: (context) => {
    const count = context.freezer.thaw();
    context.log.write('notice', `guest-fsfreeze-thaw called: ${count} filesystems`);
    return count;
  },
};
