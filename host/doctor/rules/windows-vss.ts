import type { DomainRule } from '../facts.ts';

export const windowsVss: DomainRule = {
  id: 'windows-vss',
  layer: 'guest',
  judge: ({ agent }) =>
    agent?.ok === true && agent.facts.isWindows
      ? {
          verdict: 'unknown',
          evidence: agent.facts.osText ?? 'a Windows guest',
          message:
            'qemu-ga asks VSS for a full backup unless told otherwise: a freeze can then truncate the logs of SQL Server or Exchange. In the guest, \'reg query "HKLM\\SYSTEM\\CurrentControlSet\\Services\\QEMU Guest Agent VSS Provider" /v VssOption\' shows 5 where it takes a copy. A trim is not concerned',
        }
      : null,
};
