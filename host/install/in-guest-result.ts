import { AppError, type ErrorCode } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import type { AgentChoice } from './ways.ts';

/** How in-guest.sh ended. Its text comes from the guest: only these words are understood. */
export type InGuestResult = AgentChoice | 'removed';

/** in-guest.sh's status for a full disk. */
export const noSpaceStatus = 22;

const failures: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  1: ['tool-failed', 'the install script failed in the guest'],
  20: ['refused', 'the guest has no package manager that is known here; try --agent virt-trim'],
  21: [
    'tool-failed',
    "the guest's package manager could not do it (no network in the guest?); give the package as a file (--package), or take --agent virt-trim",
  ],
  22: ['tool-failed', "no space is left on the guest's disk; free some and run this again"],
  23: ['refused', "virt-trim's own agent is not built for the guest's processor"],
  24: ['tool-failed', 'the agent arrived damaged in the guest (its checksum is wrong); run this again'],
  25: ['permission-denied', 'the install needs root in the guest'],
  26: ['refused', 'the guest says that virt-trim has installed nothing in it'],
  27: ['refused', 'the guest has neither systemd nor OpenRC, sysvinit or an inittab'],
  28: ['busy', 'another install or removal is at work in the guest; try later'],
  29: ['refused', 'the guest has no base64, openssl or busybox to unpack files with; try --via iso'],
};

/** The last words that it said, for a person. */
function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('virt-trim-result:'));
  return cleanText(lines.slice(-3).join(' / '), 400);
}

export function inGuestError(status: number, output: string): AppError {
  const [code, message] = failures[status] ?? ['tool-failed', `the install script ended with status ${status} in the guest`];
  const words = lastWords(output);
  return new AppError(code, words === '' ? message : `${message} [guest: ${words}]`, { context: { guestStatus: status } });
}

/**
 * Reads what in-guest.sh printed.
 * @throws AppError for what failed; `tool-failed` where it did not come to its end.
 */
export function readInGuestResult(output: string): InGuestResult {
  const word = [...output.matchAll(/^virt-trim-result: ([a-z-]+(?:\d+)?)\r?$/gm)].at(-1)?.[1];
  if (word === 'qemu-ga' || word === 'virt-trim' || word === 'removed') return word;
  const failed = /^failed-(\d+)$/.exec(word ?? '');
  if (failed !== null) throw inGuestError(Number(failed[1]), output);
  throw new AppError('tool-failed', `the install script did not come to its end in the guest [guest: ${lastWords(output)}]`);
}
