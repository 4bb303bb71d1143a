import type { GuestOsInfo } from '../../shared/qga/types.ts';
import type { Command } from '../command.ts';
import { readOsRelease } from '../os-release.ts';

export const guestGetOsinfo: Command = {
  name: 'guest-get-osinfo',
  run: (context): GuestOsInfo => {
    const { release, version, machine } = context.sys.unixName();
    return { 'kernel-release': release, 'kernel-version': version, machine, ...readOsRelease(context.sys) };
  },
};
