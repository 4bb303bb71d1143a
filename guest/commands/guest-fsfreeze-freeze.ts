import type { Command } from '../command.ts';

/** Answers how many filesystems were frozen. */
export const guestFsfreezeFreeze: Command = {
  name: 'guest-fsfreeze-freeze',
  start: (context, _args, finish) => context.freezer.freeze(undefined, finish),
};
