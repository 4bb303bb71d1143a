import type { DiskRule } from '../facts.ts';
import { domainArgument } from '../subject.ts';

/** Windows' own defaults make it trim in 4 KiB pieces or not at all; 32 KiB to 32 MiB serve it far better (facts of the field). */
const least = 32 * 1024;

export const granularity: DiskRule = {
  id: 'granularity',
  layer: 'driver',
  judge: ({ domain, disk, domainFacts }) => {
    const isWindows = domainFacts.agent?.ok === true && domainFacts.agent.facts.isWindows;
    if (!isWindows) return null;
    const evidence = `a Windows guest, <blockio discard_granularity='${disk.discardGranularity ?? 'not set'}'>`;
    if ((disk.discardGranularity ?? 0) >= least) return { verdict: 'ok', evidence, message: 'large enough for Windows' };
    return {
      verdict: 'warning',
      evidence,
      message: 'Windows trims slowly and incompletely with small granularities: 32 KiB to 32 MiB serve it better',
      fix: { command: `virt-trim fix ${domainArgument(domain)} --only granularity`, automatic: true, needsColdStart: true },
    };
  },
};
