import { readFile } from 'node:fs/promises';
import path from 'node:path';
import pLimit from 'p-limit';
import { toAppError } from '../../../shared/errors.ts';
import { AgentClient, quickTimeoutSeconds } from '../../agent/client.ts';
import { probeAgent, type ProbeResult } from '../../agent/probe.ts';
import type { Connection, VirshAnswer } from '../../libvirt/connection.ts';
import { parseDomainXml, type DiskDescription, type DomainDescription } from '../../libvirt/domain-xml.ts';
import type { Domain } from '../../libvirt/domains.ts';
import { localPathOf, resolveVolumes } from '../../libvirt/volumes.ts';
import { isUnreadableImage, readImage } from '../../sizes/image.ts';
import { parseMountinfo, type Mount } from '../../trim/backend.ts';
import type { DiskFacts, DomainFacts, FilesystemFacts, HoleProbe, HostFacts } from '../facts.ts';
import { isTrimmable } from '../subject.ts';
import { hostCommands, readHost } from './host.ts';
import { probeHole } from './hole-probe.ts';
import { findRunningQemus } from './running-qemu.ts';
import { readSharedBlocks } from './shared-blocks.ts';
import { readBlockDevice, readFilesystem } from './storage.ts';

export interface GatherOptions {
  readonly askAgents: boolean;
  /** Write, punch and remove a scratch file beside each image. */
  readonly probeStorage: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface DomainCase {
  readonly facts: DomainFacts;
  readonly disks: readonly DiskFacts[];
}

const agentsAtOnce = 8;
const imagesAtOnce = 8;

/**
 * All facts about these domains. virsh processes: one for the host and the configurations of running domains, one where disks are
 * volumes, two for each agent that is asked.
 */
export async function gatherFacts(
  connection: Connection,
  domains: readonly Domain[],
  options: GatherOptions,
): Promise<{ host: HostFacts; cases: DomainCase[] }> {
  const running = domains.filter((domain) => domain.id !== null);
  const answers = await connection.runAll([...hostCommands, ...running.map((domain) => ['dumpxml', '--inactive', domain.uuid])], {
    timeoutMs: 30_000,
    signal: options.signal,
  });
  const { isLocal } = connection.uri;
  const host = await readHost(answers.slice(0, hostCommands.length), isLocal);
  const configured = new Map(running.map((domain, index) => [domain.uuid, readNext(answers[hostCommands.length + index])]));
  const [volumes, qemus, agents] = await Promise.all([
    resolveVolumes(
      connection,
      domains.flatMap((domain) => domain.disks),
      { signal: options.signal },
    ),
    isLocal && running.length > 0 ? findRunningQemus() : new Map<string, never>(),
    options.askAgents ? askAgents(connection, domains, options.signal) : new Map<string, ProbeResult>(),
  ]);
  const places = new StorageReader(isLocal, volumes, options.probeStorage);
  const cases: DomainCase[] = [];
  for (const domain of domains) {
    const facts: DomainFacts = {
      domain,
      next: configured.get(domain.uuid) ?? null,
      running: qemus.get(domain.uuid) ?? null,
      agent: agents.get(domain.uuid) ?? null,
      agentAsked: options.askAgents,
      host,
    };
    cases.push({ facts, disks: await places.readAll(facts) });
  }
  return { host, cases: await withSharedBlocks(cases) };
}

/** A transient domain has no configuration: `dumpxml --inactive` answers with the live one, or fails. */
function readNext(answer: VirshAnswer | undefined): DomainDescription | null {
  if (answer?.ok !== true) return null;
  try {
    return parseDomainXml(answer.stdout);
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'tool-failed') throw error;
    return null;
  }
}

async function askAgents(
  connection: Connection,
  domains: readonly Domain[],
  signal: AbortSignal | undefined,
): Promise<Map<string, ProbeResult>> {
  const client = new AgentClient(connection);
  const limit = pLimit(agentsAtOnce);
  const answers = new Map<string, ProbeResult>();
  const wanted = domains.filter((domain) => domain.state === 'running' && domain.channel === 'connected');
  await Promise.all(
    wanted.map((domain) =>
      limit(async () => {
        answers.set(domain.uuid, await probeAgent(connection, client, domain.uuid, { timeoutSeconds: quickTimeoutSeconds, signal }));
      }),
    ),
  );
  return answers;
}

/** Reads images and what they lie on; mounts are read once, a directory is probed once. */
class StorageReader {
  readonly #isLocal: boolean;
  readonly #volumes: ReadonlyMap<string, string>;
  readonly #probe: boolean;
  readonly #limit = pLimit(imagesAtOnce);
  readonly #holes = new Map<string, Promise<HoleProbe | null>>();
  #mounts: Promise<Mount[]> | null = null;

  constructor(isLocal: boolean, volumes: ReadonlyMap<string, string>, probe: boolean) {
    this.#isLocal = isLocal;
    this.#volumes = volumes;
    this.#probe = probe;
  }

  async readAll(domainFacts: DomainFacts): Promise<DiskFacts[]> {
    const disks = domainFacts.domain.disks.filter(isTrimmable);
    return Promise.all(disks.map((disk) => this.#limit(async () => this.#read(disk, domainFacts))));
  }

  async #read(disk: DiskDescription, domainFacts: DomainFacts): Promise<DiskFacts> {
    const { domain, host } = domainFacts;
    const machineTypes = host.machineTypes.get(domain.arch ?? '') ?? [];
    const known = { domain, disk, qemu: host.qemu, machineTypes, domainFacts, hole: null, shared: null };
    const file = this.#isLocal ? localPathOf(disk, this.#volumes) : null;
    if (file === null) return { ...known, image: null, storage: null };
    const image = await readImage(file, disk.format ?? 'raw');
    if (isUnreadableImage(image)) return { ...known, image, storage: null };
    if (image.kind === 'block') return { ...known, image, storage: await readBlockDevice(image.device) };
    this.#mounts ??= readFile('/proc/self/mountinfo', 'utf8').then(parseMountinfo);
    const storage = await readFilesystem(file, await this.#mounts);
    return { ...known, image, storage, hole: this.#probe ? await this.#probeOnce(path.dirname(file)) : null };
  }

  async #probeOnce(directory: string): Promise<HoleProbe | null> {
    let probe = this.#holes.get(directory);
    if (probe === undefined) this.#holes.set(directory, (probe = probeHole(directory)));
    return probe;
  }
}

/** One look at the extents of all images together. */
async function withSharedBlocks(cases: readonly DomainCase[]): Promise<DomainCase[]> {
  const isFile = (disk: DiskFacts): disk is DiskFacts & { storage: FilesystemFacts } => disk.storage?.kind === 'filesystem';
  const images = cases
    .flatMap((one) => one.disks)
    .filter(isFile)
    .flatMap((disk) => (disk.image === null ? [] : [{ path: disk.image.path, filesystem: disk.storage.type }]));
  const shared = await readSharedBlocks(images);
  return cases.map((one) => ({
    ...one,
    disks: one.disks.map((disk) => ({ ...disk, shared: (disk.image === null ? undefined : shared.get(disk.image.path)) ?? null })),
  }));
}
