/**
 * The vendor command of virt-trim's own guest agent, and how a host tells that agent from qemu-ga.
 *
 * **Which agent is it?** `guest-info` lists `virt-trim-set-watchdog` among its `supported_commands`: ours. Nothing else identifies
 * it: `guest-info`'s `version` is our own version (for example `0.1.0`), qemu-ga's is QEMU's.
 *
 * **The watchdog.** A frozen guest thaws by itself when its deadline passes. The deadline of a freeze is the number of seconds
 * that was set before it, or the agent's default (`--watchdog SECONDS`, 300) if none was set. A value that was set counts for one
 * freeze: the thaw that ends it, by whomever, puts the default back, so that one tool's short lease is never another's.
 *
 * ```
 * > {"execute":"virt-trim-set-watchdog","arguments":{"seconds":60}}           while thawed: for the next freeze
 * < {"return":{"seconds":60,"previous-seconds":300,"default-seconds":300,"status":"thawed"}}
 * > {"execute":"guest-fsfreeze-freeze"}
 * < {"return":2}
 * > {"execute":"virt-trim-set-watchdog","arguments":{"seconds":60}}           while frozen: renews, 60 s from now
 * < {"return":{"seconds":60,"previous-seconds":60,"default-seconds":300,"status":"frozen","remaining-ms":60000}}
 * > {"execute":"virt-trim-set-watchdog"}                                      without arguments: only asks
 * < {"return":{"seconds":60,"previous-seconds":60,"default-seconds":300,"status":"frozen","remaining-ms":58012}}
 * ```
 *
 * `seconds` is 1 to 86400; anything else is a GenericError and changes nothing. The command is allowed while frozen.
 *
 * **Too late.** After the watchdog has thawed, `guest-fsfreeze-status` says `thawed`, and the first `guest-fsfreeze-thaw` answers a
 * GenericError whose `desc` begins with {@link watchdogExpiredPrefix}; the guest *is* thawed, and what was copied in between is
 * crash-consistent at best. Every further thaw answers 0. A new freeze forgets the unreported expiry of the old one.
 */
export const watchdogCommand = 'virt-trim-set-watchdog';

/** Seconds of a freeze for which nobody set anything. */
export const watchdogDefaultSeconds = 300;
export const watchdogMinSeconds = 1;
export const watchdogMaxSeconds = 86_400;

/** How the late thaw's `desc` begins (class GenericError). */
export const watchdogExpiredPrefix = 'the watchdog has thawed the guest';

export interface WatchdogReturn {
  /** What counts now: for the running freeze, or for the next one. */
  readonly seconds: number;
  readonly 'previous-seconds': number;
  /** What a freeze gets when nobody sets anything. */
  readonly 'default-seconds': number;
  readonly status: 'thawed' | 'frozen';
  /** Only while frozen: milliseconds until the agent thaws by itself. */
  readonly 'remaining-ms'?: number;
}
