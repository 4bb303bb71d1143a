import { type Hypervisor, type HypervisorOptions, startHypervisor } from '../../host/demo/hypervisor.ts';
import { defaultAgent } from './default-agent.ts';
import { defineDebianGuest, type DebianGuestSpec } from './debian-guest.ts';
import { ScriptedAgent, type AgentScript } from './scripted-agent.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { defineTinyGuest, type TinyGuestSpec } from '../../host/demo/tiny-guest.ts';

/** A private hypervisor with guests, for one test file. `await using rig = await startRig()`, or `dispose()` in `afterAll`. */
export class Rig implements AsyncDisposable {
  readonly hypervisor: Hypervisor;
  readonly #agents: ScriptedAgent[] = [];

  constructor(hypervisor: Hypervisor) {
    this.hypervisor = hypervisor;
  }

  /** For `virt-trim -c`, `virsh -c`. */
  get uri(): string {
    return this.hypervisor.uri;
  }

  /** Defines a tiny guest; it is off. Which agent it has where the spec names none: default-agent.ts. */
  define(spec: TinyGuestSpec): Promise<Guest> {
    return defineTinyGuest(this.hypervisor, { ...spec, agent: spec.agent ?? defaultAgent(spec.name) });
  }

  /** Defines and boots a tiny guest, and waits for its agent where it has one. */
  async boot(spec: TinyGuestSpec): Promise<Guest> {
    return (await this.define(spec)).boot();
  }

  /** Boots a whole Debian (20 s; the first time a minute or two more). */
  async bootDebian(spec: DebianGuestSpec): Promise<Guest> {
    return (await defineDebianGuest(this.hypervisor, spec)).boot(bootAllTimeoutMs);
  }

  /** Boots a tiny guest whose agent the test plays; `script` says how. */
  async bootScripted(spec: Omit<TinyGuestSpec, 'agent'>, script: AgentScript): Promise<{ guest: Guest; agent: ScriptedAgent }> {
    const guest = await this.define({ ...spec, agent: { kind: 'scripted' } });
    await guest.start();
    const agent = new ScriptedAgent(guest, script);
    this.#agents.push(agent);
    await agent.attach();
    await guest.waitForBoot(bootAllTimeoutMs);
    await guest.waitForAgent(bootAllTimeoutMs);
    return { guest, agent };
  }

  /** Boots several side by side; the answer is in the order given. */
  async bootAll(specs: readonly TinyGuestSpec[]): Promise<Guest[]> {
    const guests: Guest[] = [];
    for (const spec of specs) guests.push(await this.define(spec));
    await Promise.all(guests.map((guest) => guest.boot(bootAllTimeoutMs)));
    return guests;
  }

  async dispose(): Promise<void> {
    for (const agent of this.#agents) agent[Symbol.dispose]();
    await this.hypervisor.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Two dozen guests on two cores take their time. */
const bootAllTimeoutMs = 240_000;

/** Starts a rig; as many as wanted can run side by side, each with names, sockets and directories of its own. */
export async function startRig(options: HypervisorOptions = {}): Promise<Rig> {
  return new Rig(await startHypervisor(options));
}
