import type { Command } from '../command.ts';

export const guestFstrim: Command = {
  name: 'guest-fstrim',
  parameters: [{ name: 'minimum', type: 'integer', optional: true }],
  // The kernel takes an unsigned number, and qemu-ga hands a negative one on as it is.
  start: (context, args, finish) => context.trimmer.trim(BigInt.asUintN(64, BigInt(args.integer ?? 0)), finish),
};
