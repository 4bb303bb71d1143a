import { watchdogCommand, watchdogMaxSeconds, watchdogMinSeconds } from '../../shared/qga/watchdog.ts';
import type { Command } from '../command.ts';
import { QgaError } from '../qga-error.ts';

/** The vendor command; its format is described in shared/qga/watchdog.ts. */
export const virtTrimSetWatchdog: Command = {
  name: watchdogCommand,
  parameters: [{ name: 'seconds', type: 'integer', optional: true }],
  whileFrozen: true,
  besideJob: true,
  run: (context, args) => {
    const seconds = args.integer;
    if (seconds !== undefined && (typeof seconds !== 'number' || seconds < watchdogMinSeconds || seconds > watchdogMaxSeconds)) {
      throw new QgaError(`Parameter 'seconds' must be ${watchdogMinSeconds} to ${watchdogMaxSeconds}`);
    }
    return context.freezer.setWatchdog(seconds);
  },
};
