import type { Command } from '../command.ts';

/** As guest-sync, with one byte FF before the answer: the only FF this agent ever sends. */
export const guestSyncDelimited: Command = {
  name: 'guest-sync-delimited',
  parameters: [{ name: 'id', type: 'integer' }],
  whileFrozen: true,
  besideJob: true,
  resynchronises: true,
  run: (context, args) => {
    context.delimitAnswer();
    return args.integer;
  },
};
