import type { Command } from '../command.ts';

/** Unknown paths are passed over in silence, as qemu-ga does: the caller compares the count. Without a list it freezes all. */
export const guestFsfreezeFreezeList: Command = {
  name: 'guest-fsfreeze-freeze-list',
  parameters: [{ name: 'mountpoints', type: 'stringList', optional: true }],
  start: (context, args, finish) => context.freezer.freeze(args.stringList, finish),
};
