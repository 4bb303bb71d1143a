import type { Command } from '../command.ts';

export const guestFsfreezeStatus: Command = {
  name: 'guest-fsfreeze-status',
  whileFrozen: true,
  besideJob: true,
  run: (context) => context.freezer.status,
};
