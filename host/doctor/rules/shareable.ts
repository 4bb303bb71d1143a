import type { XmlRule } from '../subject.ts';

export const shareable: XmlRule = {
  id: 'shareable',
  layer: 'driver',
  judge: ({ disk }) =>
    disk.shareable
      ? {
          verdict: 'warning',
          evidence: '<shareable/>',
          message: 'another guest may use the same disk: a trim by one is seen by all, and only a cluster filesystem knows what is free',
        }
      : null,
};
