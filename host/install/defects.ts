import type { AgentFacts } from '../agent/probe.ts';
import { offers } from '../agent/probe.ts';

export interface Defect {
  readonly id: string;
  readonly message: string;
}

type Known = Defect & { readonly applies: (facts: AgentFacts, major: number, minor: number) => boolean };

const known: readonly Known[] = [
  {
    // Seen with 7.2; QEMU 10.0 dedupes by device (qga/commands-linux.c).
    id: 'loop-mount-deadlock',
    message:
      'qemu-ga before 10.0 freezes for ever where a loop mount lies on a file system that is mounted twice (cPanel, CloudLinux, snaps)',
    applies: (facts, major) => facts.kind === 'qemu-ga' && !facts.isWindows && major < 10,
  },
  {
    id: 'no-trim-detail',
    message: 'qemu-ga before 2.4 does not tell what it trimmed',
    applies: (facts, major, minor) => facts.kind === 'qemu-ga' && (major < 2 || (major === 2 && minor < 4)),
  },
  {
    id: 'vss-full-backup',
    message:
      "qemu-ga on Windows asks VSS for a full backup, which truncates the logs of SQL Server and Exchange; set the registry's VssOption to 5",
    applies: (facts) => facts.isWindows,
  },
  {
    id: 'freeze-blocked',
    message: "the guest's administrator has blocked guest-fsfreeze-freeze (block-rpcs in qemu-ga's configuration)",
    applies: (facts) => knows(facts, 'guest-fsfreeze-freeze') && !offers(facts.info, 'guest-fsfreeze-freeze') && facts.frozen !== 'frozen',
  },
  {
    id: 'trim-blocked',
    message: "the guest's administrator has blocked guest-fstrim (block-rpcs in qemu-ga's configuration)",
    applies: (facts) => knows(facts, 'guest-fstrim') && !offers(facts.info, 'guest-fstrim') && facts.frozen !== 'frozen',
  },
];

function knows(facts: AgentFacts, command: string): boolean {
  return facts.info.supported_commands.some((entry) => entry.name === command);
}

/** Known defects of the agent that answered, by kind, version and what it offers. */
export function findDefects(facts: AgentFacts): Defect[] {
  const [major = 0, minor = 0] = facts.info.version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return known.filter((defect) => defect.applies(facts, major, minor)).map(({ id, message }) => ({ id, message }));
}
