import type { XmlRule } from '../subject.ts';

export const transient: XmlRule = {
  id: 'transient',
  layer: 'image',
  judge: ({ disk }) =>
    disk.transient
      ? {
          verdict: 'warning',
          evidence: '<transient/>',
          message: 'writes go to an overlay that is thrown away at shutdown: a trim frees blocks of that overlay, never of the image',
        }
      : null,
};
