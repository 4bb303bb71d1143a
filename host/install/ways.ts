/** How an agent can get into a guest, in the order in which they are tried. */
export const ways = ['agent', 'offline', 'ssh', 'cloud-init', 'iso'] as const;
export type Way = (typeof ways)[number];

export function isWay(text: string): text is Way {
  return (ways as readonly string[]).includes(text);
}

export type AgentChoice = 'qemu-ga' | 'virt-trim';
