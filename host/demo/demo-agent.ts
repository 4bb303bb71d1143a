import { findOwnAgents, loadOwnAgent } from '../install/own-agent.ts';
import { ensureQemuGa } from './qemu-ga.ts';
import type { AgentSpec } from './tiny-guest.ts';

export type DemoAgent = 'virt-trim' | 'qemu-ga';

export const agentTitles: Readonly<Record<DemoAgent, string>> = { 'virt-trim': 'virt-trim’s own agent', 'qemu-ga': 'qemu-ga' };

/** The demo's guest is an x86-64 one. */
const arch = 'x86_64';

/**
 * Who answers in the demo's guest. Unless one is named: our own agent where this installation has it built, else Debian's.
 * @throws AppError `tool-missing`, `refused` for an agent that is not what its checksum says, `tool-failed`.
 */
export async function chooseAgent(named: DemoAgent | null, signal: AbortSignal): Promise<AgentSpec & { kind: DemoAgent }> {
  const own = await findOwnAgents();
  if (named === 'virt-trim' || (named === null && own.some((agent) => agent.arch === arch))) {
    return { kind: 'virt-trim', program: (await loadOwnAgent(own, arch)).file };
  }
  await ensureQemuGa(signal);
  return { kind: 'qemu-ga' };
}
