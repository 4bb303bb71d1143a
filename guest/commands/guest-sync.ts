import type { Command } from '../command.ts';

export const guestSync: Command = {
  name: 'guest-sync',
  parameters: [{ name: 'id', type: 'integer' }],
  whileFrozen: true,
  besideJob: true,
  resynchronises: true,
  run: (_context, args) => args.integer,
};
