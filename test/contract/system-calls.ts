import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What `docs/guest-agent.md`, "Kernel", says of the agent's system calls: the one list. A call with an operation is `ioctl FIFREEZE`. */
export interface DocumentedCalls {
  /** Which Linux each is from, such as `2.6.37`. */
  readonly since: ReadonlyMap<string, string>;
  /** Seen wherever the agent runs. */
  readonly anywhere: ReadonlySet<string>;
  /** Seen only where it may freeze and trim. */
  readonly inGuest: ReadonlySet<string>;
  /** In the program, for cases that no test meets. */
  readonly unseen: ReadonlySet<string>;
  /** All of the aarch64 build's. */
  readonly aarch64: ReadonlySet<string>;
}

const names = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

export function documentedCalls(): DocumentedCalls {
  const text = readFileSync(fileURLToPath(new URL('../../docs/guest-agent.md', import.meta.url)), 'utf8');
  const section = /^## Kernel$(.*?)^## /ms.exec(text)?.[1] ?? '';
  const since = new Map<string, string>();
  const columns = [new Set<string>(), new Set<string>(), new Set<string>()] as const;
  for (const [, version = '', ...cells] of section.matchAll(/^\| +([\d.]+)[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|$/gm)) {
    for (const [at, column] of columns.entries()) {
      for (const name of names(cells[at] ?? '')) {
        if (since.has(name)) throw new Error(`docs/guest-agent.md names ${name} twice`);
        since.set(name, version);
        column.add(name);
      }
    }
  }
  const [anywhere, inGuest, unseen] = columns;
  const aarch64 = new Set(names(/^On aarch64,.*?\n\n/ms.exec(section)?.[0] ?? ''));
  return { since, anywhere, inGuest, unseen, aarch64 };
}

/** Calls that do many things, told apart by their operation: strace shows its name as the first or second argument. */
const withOperation = new Set(['ioctl', 'prctl', 'fcntl']);

/** The calls in what `strace -f -o` wrote: lines such as `17 ioctl(5, FIFREEZE)`, each perhaps cut off behind the operation. */
export function tracedCalls(trace: string): Set<string> {
  const found = new Set<string>();
  for (const [, call = '', operation = ''] of trace.matchAll(/^(?:\d+ +)?([a-z_0-9]+)\((?:-?\d+, )?((?:[A-Z][A-Z_0-9]*(?: or )?)*)/gm)) {
    // What starts the program is not its own.
    if (call === 'execve') continue;
    // `SNDCTL_TMR_START or TCSETS`: two names of one number.
    found.add(withOperation.has(call) ? `${call} ${operation.split(' or ').at(-1) ?? ''}` : call);
  }
  return found;
}
