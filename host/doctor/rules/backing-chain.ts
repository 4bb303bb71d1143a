import { cleanText } from '../../../shared/clean-text.ts';
import type { XmlRule } from '../subject.ts';

/** An overlay frees its own clusters. What its backing file holds stays there, hidden behind zero clusters. */
export const backingChain: XmlRule = {
  id: 'backing-chain',
  layer: 'image',
  judge: ({ disk }) => {
    if (disk.backing.length === 0) return null;
    const names = disk.backing.map((layer) => cleanText(layer.source ?? layer.type)).join(' ← ');
    return {
      verdict: 'warning',
      evidence: `${disk.backing.length} backing image${disk.backing.length === 1 ? '' : 's'}: ${names}`,
      message: `a trim frees what ${disk.target}'s own overlay holds; nothing comes back from the images below it`,
      fix: {
        command: `if nothing else uses the images below: virsh blockpull or blockcommit merges the chain, a trim after it reaches everything`,
        automatic: false,
        needsColdStart: false,
      },
    };
  },
};
