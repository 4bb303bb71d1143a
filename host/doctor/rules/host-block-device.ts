import { formatBytes } from '../../../shared/units.ts';
import type { Judgement } from '../finding.ts';
import type { BlockFacts, DiskRule } from '../facts.ts';

function judgeZvol(zvol: BlockFacts['zvol'], evidence: string): Judgement {
  if (zvol === null) {
    return { verdict: 'unknown', evidence, message: "whether its space is reserved is not known: 'zfs get refreservation DATASET'" };
  }
  if ((zvol.refreservationBytes ?? 0) > 0) {
    return {
      verdict: 'blocks',
      evidence: `${evidence}, refreservation=${formatBytes(zvol.refreservationBytes)} on ${zvol.dataset}`,
      message: 'the whole volume is reserved: what a trim frees inside it, the pool does not get',
      fix: { command: `zfs set refreservation=none ${zvol.dataset}`, automatic: false, needsColdStart: false },
    };
  }
  return { verdict: 'ok', evidence, message: 'a sparse zvol gives discarded blocks back to its pool' };
}

function judgeLayer(storage: BlockFacts, evidence: string): Judgement {
  const granularity = storage.discardGranularityBytes ?? 0;
  switch (storage.layer) {
    case 'lvm-thick':
      return {
        verdict: 'blocks',
        evidence: `${evidence}, a thick logical volume`,
        message: 'a thick volume keeps all its extents: a trim reaches the disk below it, and the volume group gets nothing back',
        fix: {
          command: 'a thin pool (lvconvert --type thin-pool, then a copy into a thin volume) can give space back',
          automatic: false,
          needsColdStart: true,
        },
      };
    case 'lvm-snapshot':
      return {
        verdict: 'blocks',
        evidence: `${evidence}, an LVM snapshot`,
        message: 'discards to a thick LVM snapshot or its origin free nothing',
      };
    case 'lvm-thin':
      return granularity >= 1024 ** 2
        ? {
            verdict: 'warning',
            evidence: `${evidence}, a thin volume with chunks of ${formatBytes(granularity)}`,
            message: `the pool gets whole chunks back only: free runs shorter than ${formatBytes(granularity)} stay`,
          }
        : { verdict: 'ok', evidence: `${evidence}, a thin volume`, message: 'the thin pool gets discarded chunks back' };
    case 'zvol':
      return judgeZvol(storage.zvol, evidence);
    case 'loop':
      return { verdict: 'ok', evidence, message: 'a loop device punches holes into the file behind it' };
    case 'rbd':
      return { verdict: 'ok', evidence, message: 'krbd gives discarded objects back' };
    default:
      return { verdict: 'ok', evidence, message: 'the device takes discards; how much it is thinner after one, only itself knows' };
  }
}

export const hostBlockDevice: DiskRule = {
  id: 'host-block-device',
  layer: 'host',
  judge: ({ disk, storage }) => {
    if (storage?.kind !== 'block') return null;
    const max = storage.discardMaxBytes;
    const evidence = `${disk.source ?? '?'} is ${storage.name}, discard_max_bytes ${max ?? 'unknown'}`;
    if (max === null)
      return { verdict: 'unknown', evidence, message: "whether the device takes discards is not to be seen: 'lsblk -D' on its host" };
    if (max > 0) return judgeLayer(storage, evidence);
    if (storage.layer === 'crypt') {
      return {
        verdict: 'blocks',
        evidence: `${evidence}, a LUKS mapping without discards`,
        message:
          'LUKS drops discards unless it was opened with them. That is a decision for you, not for a tool: holes show anyone who gets the disk which blocks are in use (cryptsetup(8), --allow-discards)',
      };
    }
    return { verdict: 'blocks', evidence, message: 'the device takes no discards: nothing can be given back' };
  },
};
