import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, toAppError } from '../../shared/errors.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import { runThroughAgent } from './agent-exec.ts';
import { attachChannel, detachChannel, readXmls } from './channel.ts';
import { cloudInitSeed, seedLabel } from './cloud-init.ts';
import type { InstallRun } from './install-run.ts';
import { consoleScript, makeIso } from './iso-image.ts';
import { mediumPath, seedMedium, showMedium, takeMedium } from './medium.ts';
import { changeImage, commitOverlays, makeOverlays } from './offline.ts';
import { buildPayload, selfExtracting, type Payload } from './payload.ts';
import { awaitAgent, awaitGone, proveAgent, type ProveOptions } from './prove.ts';
import { runOverSsh, type SshTarget } from './ssh.ts';
import { restorePersistentXml } from './undo.ts';
import type { Step } from './steps.ts';
import type { AgentChoice } from './ways.ts';

function proveOptions(run: InstallRun): ProveOptions {
  const { connection, client, ref, stateDirectory, signal, say } = run;
  return { connection, client, ref, stateDirectory, signal, warn: say };
}

/** What goes along where the guest itself decides: ours for every processor that we have it for. */
async function livePayload(run: InstallRun, verb: 'install' | 'remove', agent: AgentChoice | null): Promise<Payload> {
  if (verb === 'remove') return buildPayload(run.situation.own, { architectures: [], packages: [] });
  const arch = run.situation.domain.arch;
  const own = run.situation.own.filter((one) => arch === null || one.arch === arch).map((one) => one.arch);
  if (agent === 'virt-trim' && own.length === 0)
    throw new AppError('tool-missing', `virt-trim's own agent is not built for ${arch ?? 'this machine'}; build it: npm run build:guest`);
  return buildPayload(run.situation.own, { architectures: agent === 'qemu-ga' ? [] : own, packages: run.options.packages });
}

function choiceWord(payload: Payload, agent: AgentChoice | null): string {
  return agent ?? (payload.has('SHA256SUMS') ? 'auto' : 'qemu-ga');
}

/** The verb as in-guest.sh takes it. */
function installWords(run: InstallRun, payload: Payload, agent: AgentChoice | null): string[] {
  return [run.options.upgrade ? 'upgrade' : 'install', choiceWord(payload, agent)];
}

async function addChannel(run: InstallRun, to: 'live' | 'config'): Promise<void> {
  await run.journal.note(to === 'live' ? { channelLive: true } : { channelConfig: true });
  await attachChannel(run.connection, run.ref.uuid, to, run.journal.directory);
  if (to === 'live') return;
  const { inactive } = await readXmls(run.connection, run.ref.uuid, false);
  if (inactive !== null) await run.journal.noteChangedXml(inactive);
}

async function overSsh(run: InstallRun, step: Extract<Step, { kind: 'run-ssh' }>): Promise<void> {
  const { ssh } = run.situation.tools;
  if (ssh === null) throw new AppError('tool-missing', 'ssh is not installed');
  const target: SshTarget = { destination: step.destination, configFile: run.options.sshConfig };
  const payload = await livePayload(run, step.verb, step.agent);
  const args = step.verb === 'remove' ? ['remove'] : installWords(run, payload, step.agent);
  await run.journal.note({ ssh: step.destination, sshConfig: run.options.sshConfig, insideGuest: step.verb === 'install' });
  try {
    run.brought = await runOverSsh(ssh, target, payload, { id: run.journal.record.id, args, signal: run.signal });
  } catch (thrown) {
    // What it had begun it has undone itself, unless it was cut off.
    const cutOff = thrown instanceof AppError && ['interrupted', 'tool-timeout'].includes(thrown.code);
    if (!cutOff) await run.journal.note({ insideGuest: false });
    throw thrown;
  }
}

async function throughAgent(run: InstallRun, agent: AgentChoice): Promise<void> {
  const payload = await livePayload(run, 'install', agent);
  const program = selfExtracting(payload, run.journal.record.id, ['upgrade', agent]);
  const timeoutSeconds = run.options.timeoutSeconds;
  await run.journal.note({ guestActs: true });
  try {
    run.brought = await runThroughAgent(run.client, run.ref.uuid, program, run.journal.record.id, { timeoutSeconds, signal: run.signal });
  } catch (thrown) {
    // What said that it failed has put back what it had begun.
    if (toAppError(thrown).context['guestStatus'] !== undefined) await run.journal.note({ guestActs: false });
    throw thrown;
  }
}

async function attachIso(run: InstallRun, step: Extract<Step, { kind: 'attach-iso' }>): Promise<void> {
  if (step.iso !== null) return showMedium(run, step.iso);
  const { isoMaker } = run.situation.tools;
  if (isoMaker === null) throw new AppError('tool-missing', 'no program that makes ISO images is installed (xorriso, genisoimage)');
  const payload = await livePayload(run, step.verb, 'virt-trim');
  const files = new Map(payload);
  files.set('install.sh', Buffer.from(consoleScript(step.verb === 'install' ? 'install virt-trim' : 'remove')));
  const file = mediumPath(run, 'agent');
  await makeIso(isoMaker, files, 'VIRT_TRIM', file, run.journal.directory);
  try {
    await showMedium(run, file);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
  if (step.verb === 'install') run.brought = 'virt-trim';
}

async function attachSeed(run: InstallRun, agent: AgentChoice): Promise<void> {
  const { isoMaker } = run.situation.tools;
  if (isoMaker === null) throw new AppError('tool-missing', 'no program that makes ISO images is installed (xorriso, genisoimage)');
  const seed = cloudInitSeed(await livePayload(run, 'install', agent), agent, run.journal.record.id);
  const files = new Map([
    ['user-data', Buffer.from(seed.userData)],
    ['meta-data', Buffer.from(seed.metaData)],
    ['network-config', Buffer.from(seed.networkConfig)],
  ]);
  const file = mediumPath(run, 'seed');
  await makeIso(isoMaker, files, seedLabel, file, run.journal.directory);
  await seedMedium(run, file);
  run.brought = agent;
}

async function eject(run: InstallRun): Promise<void> {
  const { medium } = run.journal.notes;
  if (medium === null) return;
  const problem = await takeMedium(run.connection, run.ref.uuid, medium, run.journal.directory, medium.file !== run.options.iso);
  if (problem !== null) run.say(`${run.ref.name}: the ISO is still there: ${problem}`);
  await run.journal.note({ medium: null });
}

/** A guest that has just booted may not hear the power button yet: it is pressed again. */
const pressAgainMs = 30_000;

/** Asks the guest to power off, through its new agent and by ACPI, and waits. What was proven stays proven where it does not. */
async function stopDomain(run: InstallRun): Promise<void> {
  const { connection, ref } = run;
  const deadline = performance.now() + run.options.timeoutSeconds * 1000;
  let pressAt = 0;
  while (parseDomainXml(await connection.run(['dumpxml', ref.uuid])).id !== null) {
    if (performance.now() >= pressAt) {
      pressAt = performance.now() + pressAgainMs;
      await connection.runAll([['shutdown', ref.uuid, '--mode', 'agent,acpi']], { timeoutMs: 60_000 });
    }
    if (performance.now() > deadline) {
      run.say(`${ref.name}: does not shut down within ${run.options.timeoutSeconds} s; it is left running`);
      return;
    }
    await sleep(1000, undefined, { signal: run.signal });
  }
}

async function dropChannel(run: InstallRun): Promise<void> {
  const { receipt, domain } = run.situation;
  if (receipt === null) return;
  if (receipt.channel.live && domain.id !== null) await detachChannel(run.connection, run.ref.uuid, 'live', run.journal.directory);
  if (receipt.channel.config)
    await restorePersistentXml(run.connection, run.ref.uuid, run.journal.directory, receipt.xmlBefore, receipt.xmlAfter);
}

/** Does one step. @throws AppError why it could not be done. */
export async function executeStep(run: InstallRun, step: Step): Promise<void> {
  switch (step.kind) {
    case 'keep-xml': {
      const { inactive } = await readXmls(run.connection, run.ref.uuid, false);
      if (inactive !== null) await run.journal.keepXml(inactive);
      return;
    }
    case 'add-channel':
      return addChannel(run, step.to);
    case 'overlay':
      return makeOverlays(run, step.disks);
    case 'change-image':
      run.brought = await changeImage(run, step.verb, step.agent);
      return;
    case 'commit-image':
      return commitOverlays(run);
    case 'run-ssh':
      return overSsh(run, step);
    case 'run-agent':
      return throughAgent(run, step.agent);
    case 'attach-seed':
      return attachSeed(run, step.agent);
    case 'attach-iso':
      return attachIso(run, step);
    case 'ask-console':
      await run.journal.note({ guestActs: true });
      run.say(`${run.ref.name}: as root on its console type:\n  ${step.line}`);
      return;
    case 'start':
      await run.journal.note({ started: true, guestActs: run.journal.notes.medium !== null });
      await run.connection.run(['start', run.ref.uuid], { timeoutMs: 120_000 });
      return;
    case 'await-agent':
      run.facts = await awaitAgent(proveOptions(run), run.options.timeoutSeconds);
      return;
    case 'prove':
      if (run.facts !== null) run.proof = await proveAgent(proveOptions(run), run.facts);
      return;
    case 'await-gone':
      return awaitGone(proveOptions(run), run.options.timeoutSeconds);
    case 'eject':
      return eject(run);
    case 'stop':
      await stopDomain(run);
      await run.journal.note({ started: false });
      return;
    case 'drop-channel':
      return dropChannel(run);
  }
}
