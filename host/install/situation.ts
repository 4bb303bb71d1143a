import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import type { AgentClient } from '../agent/client.ts';
import { probeAgent, type AgentFacts } from '../agent/probe.ts';
import type { Connection } from '../libvirt/connection.ts';
import type { Domain } from '../libvirt/domains.ts';
import { channelFacts, readXmls, type ChannelFacts } from './channel.ts';
import { findOwnAgents, type OwnAgent } from './own-agent.ts';
import { readReceipt, type Receipt } from './receipt.ts';

/** Programs of the host that a way needs; null where missing. */
export interface Tools {
  readonly guestfish: string | null;
  /** Makes ISO images. */
  readonly isoMaker: string | null;
  readonly ssh: string | null;
}

/** All that a plan is made from. */
export interface Situation {
  readonly domain: Domain;
  readonly isLocal: boolean;
  readonly channel: ChannelFacts;
  /** `virsh managedsave` keeps its memory: its images must not change under it. */
  readonly hasManagedSave: boolean;
  /** An agent that answers. */
  readonly agent: AgentFacts | null;
  /** Why a connected one does not. */
  readonly agentProblem: string | null;
  readonly tools: Tools;
  readonly own: readonly OwnAgent[];
  readonly receipt: Receipt | null;
}

const isoMakers = ['xorriso', 'genisoimage', 'mkisofs'] as const;

async function findProgram(env: NodeJS.ProcessEnv, names: readonly string[]): Promise<string | null> {
  const folders = [...(env['PATH'] ?? '').split(path.delimiter), '/usr/sbin', '/sbin'].filter((folder) => path.isAbsolute(folder));
  for (const name of names) {
    for (const folder of folders) {
      const file = path.join(folder, name);
      const found = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return file;
    }
  }
  return null;
}

export async function findTools(env: NodeJS.ProcessEnv): Promise<Tools> {
  return {
    guestfish: await findProgram(env, ['guestfish']),
    isoMaker: await findProgram(env, isoMakers),
    ssh: await findProgram(env, ['ssh']),
  };
}

export interface SituationSources {
  readonly connection: Connection;
  readonly client: AgentClient;
  readonly tools: Tools;
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
}

const probeTimeoutSeconds = 5;

/** Reads all of it; the agent is asked only where one is connected. @throws AppError as Connection.run does. */
export async function readSituation(domain: Domain, sources: SituationSources): Promise<Situation> {
  const { connection, client, signal } = sources;
  const xmls = await readXmls(connection, domain.uuid, domain.id !== null, signal);
  const probe =
    domain.state === 'running' && domain.channel === 'connected'
      ? await probeAgent(connection, client, domain.uuid, { timeoutSeconds: probeTimeoutSeconds, signal })
      : null;
  return {
    domain,
    isLocal: connection.uri.isLocal,
    channel: channelFacts(xmls),
    hasManagedSave: xmls.hasManagedSave,
    agent: probe?.ok === true ? probe.facts : null,
    agentProblem: probe?.ok === false ? probe.error.message : null,
    tools: sources.tools,
    own: await findOwnAgents(),
    receipt: await readReceipt(sources.stateDirectory, domain.uuid),
  };
}
