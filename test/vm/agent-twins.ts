import type { AgentSpec, TinyGuestSpec } from '../../host/demo/tiny-guest.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { ownAgentProgram } from '../rig/default-agent.ts';
import type { Rig } from '../rig/rig.ts';

/** Two guests that differ in nothing but the agent. */
export interface Twins {
  readonly ours: Guest;
  readonly theirs: Guest;
}

export async function bootTwins(rig: Rig, spec: Omit<TinyGuestSpec, 'name' | 'agent'>): Promise<Twins> {
  const specify = (name: string, agent: AgentSpec): TinyGuestSpec => ({ ...spec, name, agent });
  const [ours, theirs] = await rig.bootAll([
    specify('ours', { kind: 'virt-trim', program: ownAgentProgram }),
    specify('theirs', { kind: 'qemu-ga' }),
  ]);
  if (ours === undefined || theirs === undefined) throw new Error('there are not two of them');
  return { ours, theirs };
}

/** What differs between any two guests or two moments. */
function steady(text: string, guest: Guest): string {
  return text
    .replaceAll(guest.uuid, 'UUID')
    .replaceAll(guest.name, 'NAME')
    .replace(/^(fs\.\d+\.(?:used|total)-bytes\s*:\s*)\d+$/gm, '$1N')
    .replace(/^(load\.\w+\s*:\s*).*$/gm, '$1N')
    .replace(/[0-9a-f]{2}(?::[0-9a-f]{2}){5}/g, 'MAC');
}

/** stdout of a virsh command, `@` being the guest, or what it failed with. */
export async function say(guest: Guest, command: readonly string[]): Promise<string> {
  try {
    return steady(await guest.virsh(...command.map((word) => (word === '@' ? guest.uuid : word))), guest);
  } catch (thrown) {
    return `failed: ${steady(thrown instanceof Error ? thrown.message : String(thrown), guest)}`;
  }
}

/** Ours first. */
export const sayBoth = async ({ ours, theirs }: Twins, ...command: string[]): Promise<[string, string]> => [
  await say(ours, command),
  await say(theirs, command),
];

/** A write that does not end: the evidence from outside that a filesystem is frozen. It ends with the thaw. */
export async function isFrozen(guest: Guest, directory: string): Promise<boolean> {
  return (await guest.run(`touch ${directory}/probe`, 1500)).status === null;
}
