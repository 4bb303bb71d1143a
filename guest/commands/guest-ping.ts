import type { Command } from '../command.ts';

export const guestPing: Command = {
  name: 'guest-ping',
  whileFrozen: true,
  besideJob: true,
  run: () => undefined,
};
