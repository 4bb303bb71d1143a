import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../libvirt/connection.ts';
import { parseDomainXml } from '../libvirt/domain-xml.ts';
import type { DomainRef } from '../libvirt/domains.ts';
import { commitOverlay } from '../libvirt/qemu-img.ts';
import { toAppError } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';
import { detachChannel, readXmls, restoreXml } from './channel.ts';
import type { Journal } from './journal.ts';
import { takeMedium } from './medium.ts';
import { buildPayload } from './payload.ts';
import { writeReceipt } from './receipt.ts';
import { runOverSsh } from './ssh.ts';

export interface UndoOutcome {
  /** `finished`: the images were past the point of no return, and the change was brought to its end. */
  readonly how: 'undone' | 'finished';
  /** What may have happened where we cannot undo it, in words; null where nothing can have. */
  readonly remark: string | null;
  /** What is left and could not be put back, in words. Where there are any the journal stays, for `recover`. */
  readonly problems: readonly string[];
}

interface UndoContext {
  readonly connection: Connection;
  readonly ref: DomainRef;
  readonly journal: Journal;
  readonly stateDirectory: string;
}

/**
 * Takes our channel out of a persistent XML. Where that leaves more than was there before (the controller that libvirt had added), and
 * nobody else has changed the XML since, the kept one is put back whole: not at once, because libvirt 9.0 writes the controllers of an XML
 * that is defined anew in another order.
 */
export async function restorePersistentXml(
  connection: Connection,
  uuid: string,
  directory: string,
  before: string | null,
  after: string | null,
): Promise<void> {
  const read = async (): Promise<string | null> => (await readXmls(connection, uuid, false)).inactive;
  const found = await read();
  if (found === null || found === before) return;
  await detachChannel(connection, uuid, 'config', directory);
  if (before !== null && found === after && (await read()) !== before) await restoreXml(connection, before, directory);
}

async function isRunning({ connection, ref }: UndoContext): Promise<boolean> {
  return parseDomainXml(await connection.run(['dumpxml', ref.uuid])).id !== null;
}

const nothingThereStatus = 26;
const atWorkStatus = 28;
/** An install whose ssh outlived us ends by itself: a package manager with a slow network, say. */
const atWorkMs = 120_000;

async function removeOverSsh(remove: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + atWorkMs;
  for (;;) {
    try {
      await remove();
      return;
    } catch (thrown) {
      const status = toAppError(thrown).context['guestStatus'];
      if (status === nothingThereStatus) return;
      if (status !== atWorkStatus || performance.now() > deadline) throw thrown;
    }
    await sleep(2000);
  }
}

/** Each part stands for itself: what fails is told, and the next is done all the same. */
function parts(context: UndoContext): readonly (readonly [string, () => Promise<void>])[] {
  const { connection, ref, journal, stateDirectory } = context;
  const { notes, record, directory } = journal;
  return [
    [
      'the image',
      async () => {
        if (!notes.committing || notes.committed) return;
        for (const overlay of notes.overlays) await commitOverlay(overlay.file);
        if (record.verb === 'install') {
          await writeReceipt(stateDirectory, {
            v: 1,
            uuid: record.uuid,
            name: record.name,
            via: record.via,
            agent: record.agent,
            channel: { live: false, config: notes.channelConfig },
            xmlBefore: notes.xmlKept ? await journal.keptXml() : null,
            xmlAfter: await journal.changedXml(),
            installedAt: record.startedAt,
            proven: false,
          });
        }
        await journal.note({ committed: true, overlays: [] });
      },
    ],
    [
      'the ISO',
      async () => {
        if (notes.medium === null) return;
        const own = notes.medium.file.includes(`virt-trim-${record.id}-`);
        const problem = await takeMedium(connection, ref.uuid, notes.medium, directory, own);
        if (problem !== null) throw new Error(problem);
        await journal.note({ medium: null });
      },
    ],
    [
      'what was installed over ssh',
      async () => {
        if (!notes.insideGuest || notes.ssh === null) return;
        const payload = await buildPayload([], { architectures: [], packages: [] });
        const target = { destination: notes.ssh, configFile: notes.sshConfig };
        // A folder of its own each time: that of the install may still be in use.
        const remove = (): Promise<unknown> =>
          runOverSsh('ssh', target, payload, { id: randomBytes(6).toString('hex'), args: ['remove'], timeoutMs: 300_000 });
        await removeOverSsh(remove);
        await journal.note({ insideGuest: false });
      },
    ],
    [
      'the channel',
      async () => {
        if (notes.committing || notes.committed) return;
        if (notes.channelLive && (await isRunning(context))) await detachChannel(connection, ref.uuid, 'live', directory);
        if (notes.channelConfig && notes.xmlKept)
          await restorePersistentXml(connection, ref.uuid, directory, await journal.keptXml(), await journal.changedXml());
        await journal.note({ channelLive: false, channelConfig: false });
      },
    ],
  ];
}

/**
 * Puts back what an install or a removal that failed or was interrupted had changed, or, past the point of no return, finishes it.
 * A domain that we had started for the proof is asked to shut down again. Never throws.
 */
export async function undoInstall(context: UndoContext): Promise<UndoOutcome> {
  const problems: string[] = [];
  for (const [what, undo] of parts(context)) {
    try {
      await undo();
    } catch (thrown) {
      const error = toAppError(thrown);
      // A domain that was undefined since has no XML left to put right.
      if (error.code !== 'domain-unknown') problems.push(`${what}: ${error.message}`);
    }
  }
  const { notes } = context.journal;
  if (notes.started) problems.push(...(await leftRunning(context)));
  if (problems.length === 0) await context.journal.close();
  return { how: notes.committed ? 'finished' : 'undone', remark: notes.guestActs ? remark(context) : null, problems };
}

function remark({ journal, ref }: UndoContext): string {
  const { via, verb } = journal.record;
  const cause = {
    agent: 'what the upgrade did in the guest, where it may still be at work, stays',
    'cloud-init': 'the guest has booted with the seed, and what it did with it stays',
  }[via];
  const words = cause ?? `if the line was typed on its console, that ${verb === 'install' ? 'install' : 'removal'} stays`;
  return `XML and devices are as they were; ${words}: look with virt-trim agent status ${cleanText(ref.name)}`;
}

async function leftRunning(context: UndoContext): Promise<string[]> {
  try {
    if (await isRunning(context))
      await context.connection.run(['shutdown', context.ref.uuid, '--mode', 'acpi,agent'], { timeoutMs: 30_000 });
    return [];
  } catch (thrown) {
    return [`the domain, which was started for the proof: ${toAppError(thrown).message}`];
  }
}
