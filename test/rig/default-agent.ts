import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentSpec } from '../../host/demo/tiny-guest.ts';

/** Our agent as it was built: what the tests put into guests. */
export const ownAgentProgram = resolve(fileURLToPath(new URL('../../guest/dist/virt-trim-agent-x86_64', import.meta.url)));

/** One bit of FNV-1a: stable, so that a test's second try has the agent of the first. */
function isOddName(name: string): boolean {
  let hash = 2166136261;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 16777619);
  return ((hash >>> 9) & 1) === 1;
}

/**
 * The agent of a tiny guest whose test does not ask for one. `VIRT_TRIM_RIG_AGENT` says which: `qemu-ga` (Debian's, also where it is not
 * set), `virt-trim` (ours), or `by-name`: half of the names have the one, half the other, which is what `npm test` does.
 */
export function defaultAgent(guestName: string): AgentSpec {
  const wanted = process.env['VIRT_TRIM_RIG_AGENT'] ?? 'qemu-ga';
  switch (wanted) {
    case 'qemu-ga':
      return { kind: 'qemu-ga' };
    case 'virt-trim':
      return { kind: 'virt-trim', program: ownAgentProgram };
    case 'by-name':
      return isOddName(guestName) ? { kind: 'virt-trim', program: ownAgentProgram } : { kind: 'qemu-ga' };
    default:
      throw new Error(`VIRT_TRIM_RIG_AGENT=${wanted}: qemu-ga, virt-trim or by-name`);
  }
}
