import type { Command } from '../command.ts';

export const guestFstrim: Command = {
  name: 'guest-fstrim',
  parameters: [{ name: 'minimum', type: 'integer', optional: true }],
  start: (context, args, finish) => {
    const minimum = args.integer ?? 0;
    return context.trimmer.trim(typeof minimum === 'number' ? String(minimum) : minimum.digits, finish);
  },
};
