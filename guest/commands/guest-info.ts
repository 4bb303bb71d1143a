import type { GuestInfo } from '../../shared/qga/types.ts';
import type { Command } from '../command.ts';
import { agentVersion } from '../version.ts';

/** Ours is told from qemu-ga by `virt-trim-set-watchdog` in this list; the version is our own. */
export const guestInfo: Command = {
  name: 'guest-info',
  whileFrozen: true,
  besideJob: true,
  run: (context): GuestInfo => ({
    version: agentVersion,
    supported_commands: context.listCommands().map(({ name, enabled }) => ({ enabled, name, 'success-response': true })),
  }),
};
