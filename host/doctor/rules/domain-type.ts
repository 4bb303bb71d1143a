import type { XmlRule } from '../subject.ts';

/** Everything else here is about QEMU. */
const qemuTypes: readonly string[] = ['kvm', 'qemu', 'hvf'];

export const domainType: XmlRule = {
  id: 'domain-type',
  layer: 'driver',
  judge: ({ domain }) =>
    qemuTypes.includes(domain.type)
      ? null
      : {
          verdict: 'unknown',
          evidence: `<domain type='${domain.type}'>`,
          message: `not a QEMU guest: nothing is known about discards under ${domain.type}`,
        },
};
