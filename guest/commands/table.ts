import type { Command } from '../command.ts';
import { guestFsfreezeFreezeList } from './guest-fsfreeze-freeze-list.ts';
import { guestFsfreezeFreeze } from './guest-fsfreeze-freeze.ts';
import { guestFsfreezeStatus } from './guest-fsfreeze-status.ts';
import { guestFsfreezeThaw } from './guest-fsfreeze-thaw.ts';
import { guestFstrim } from './guest-fstrim.ts';
import { guestGetDisks } from './guest-get-disks.ts';
import { guestGetFsinfo } from './guest-get-fsinfo.ts';
import { guestGetHostName } from './guest-get-host-name.ts';
import { guestGetLoad } from './guest-get-load.ts';
import { guestGetOsinfo } from './guest-get-osinfo.ts';
import { guestGetTime } from './guest-get-time.ts';
import { guestGetTimezone } from './guest-get-timezone.ts';
import { guestGetUsers } from './guest-get-users.ts';
import { guestInfo } from './guest-info.ts';
import { guestNetworkGetInterfaces } from './guest-network-get-interfaces.ts';
import { guestPing } from './guest-ping.ts';
import { guestSyncDelimited } from './guest-sync-delimited.ts';
import { guestSync } from './guest-sync.ts';
import { virtTrimSetWatchdog } from './virt-trim-set-watchdog.ts';

/** All this agent can do. It executes nothing, reads and writes no file for its host, and sets no password: CommandNotFound. */
export const commandTable: readonly Command[] = [
  guestSyncDelimited,
  guestSync,
  guestPing,
  guestInfo,
  guestGetTime,
  guestGetHostName,
  guestGetTimezone,
  guestGetUsers,
  guestGetLoad,
  guestGetOsinfo,
  guestGetFsinfo,
  guestGetDisks,
  guestNetworkGetInterfaces,
  guestFsfreezeStatus,
  guestFsfreezeFreeze,
  guestFsfreezeFreezeList,
  guestFsfreezeThaw,
  guestFstrim,
  virtTrimSetWatchdog,
];
