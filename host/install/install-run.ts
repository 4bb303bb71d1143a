import type { AgentClient } from '../agent/client.ts';
import type { AgentFacts } from '../agent/probe.ts';
import type { Connection } from '../libvirt/connection.ts';
import { isUnreadable, listDomains, readDomains, type Domain, type DomainRef } from '../libvirt/domains.ts';
import type { InGuestResult } from './in-guest-result.ts';
import type { Journal } from './journal.ts';
import type { InstallOptions } from './options.ts';
import { writeReceipt } from './receipt.ts';
import type { Proof } from './schema.ts';
import type { Situation } from './situation.ts';
import type { AgentChoice } from './ways.ts';

export interface RunSources {
  readonly connection: Connection;
  readonly client: AgentClient;
  readonly stateDirectory: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** For a person, at once. */
  readonly say: (text: string) => void;
}

/** One attempt at one domain: what its steps share. */
export class InstallRun {
  readonly connection: Connection;
  readonly client: AgentClient;
  readonly stateDirectory: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
  readonly ref: DomainRef;
  readonly situation: Situation;
  readonly options: InstallOptions;
  readonly journal: Journal;
  /** What the guest said was installed. */
  brought: InGuestResult | null = null;
  facts: AgentFacts | null = null;
  proof: Proof | null = null;

  constructor(sources: RunSources, situation: Situation, options: InstallOptions, journal: Journal) {
    this.connection = sources.connection;
    this.client = sources.client;
    this.stateDirectory = sources.stateDirectory;
    this.env = sources.env;
    this.signal = sources.signal;
    this.say = sources.say;
    this.ref = situation.domain;
    this.situation = situation;
    this.options = options;
    this.journal = journal;
  }

  get agent(): AgentChoice {
    return this.brought === 'virt-trim' || this.brought === 'qemu-ga' ? this.brought : this.journal.record.agent;
  }

  async otherDomains(): Promise<Domain[]> {
    const refs = (await listDomains(this.connection, { signal: this.signal })).filter(({ uuid }) => uuid !== this.ref.uuid);
    return (await readDomains(this.connection, refs, { signal: this.signal })).filter((domain) => !isUnreadable(domain)) as Domain[];
  }

  /** Keeps what `agent remove` needs; an earlier receipt's channel stays ours. */
  async writeReceipt(proven: boolean): Promise<void> {
    const { notes, record } = this.journal;
    const before = this.situation.receipt;
    await writeReceipt(this.stateDirectory, {
      v: 1,
      uuid: this.ref.uuid,
      name: this.ref.name,
      via: record.via,
      agent: this.brought === 'qemu-ga' || this.brought === 'virt-trim' ? this.brought : (before?.agent ?? null),
      channel: {
        live: notes.channelLive || before?.channel.live === true,
        config: notes.channelConfig || before?.channel.config === true,
      },
      xmlBefore: notes.xmlKept ? await this.journal.keptXml() : (before?.xmlBefore ?? null),
      xmlAfter: notes.xmlKept ? await this.journal.changedXml() : (before?.xmlAfter ?? null),
      installedAt: before?.installedAt ?? new Date().toISOString(),
      proven,
    });
  }
}
