import type { DomainRule } from '../facts.ts';

export const manager: DomainRule = {
  id: 'manager',
  layer: 'driver',
  judge: ({ domain }) =>
    domain.manager === null
      ? null
      : {
          verdict: 'ok',
          evidence: `its XML bears the mark of ${domain.manager}`,
          message: `${domain.manager} owns this XML and would undo a change: what is to be fixed here is set there (virt-trim fix refuses)`,
        },
};
