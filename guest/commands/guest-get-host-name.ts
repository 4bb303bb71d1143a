import type { Command } from '../command.ts';

export const guestGetHostName: Command = {
  name: 'guest-get-host-name',
  run: (context) => ({ 'host-name': context.sys.unixName().node || 'localhost' }),
};
