import { stat } from 'node:fs/promises';
import { AgentClient } from '../agent/client.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { printEnvelope } from '../report/envelope.ts';
import { renderTable } from '../report/table.ts';
import { trimDomain } from '../trim/trim-domain.ts';
import type { TrimResult } from '../trim/schema.ts';
import { AppError } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/units.ts';
import { cacheDirectory, purgeCache } from './cache.ts';
import { agentTitles, chooseAgent, type DemoAgent } from './demo-agent.ts';
import { startHypervisor, type Hypervisor } from './hypervisor.ts';
import { ensureKernel } from './kernel.ts';
import type { DemoStep } from './schema.ts';
import type { Guest } from './guest.ts';
import { defineTinyGuest, type AgentSpec } from './tiny-guest.ts';

const mebibyte = 1024 * 1024;
const diskBytes = 1024 * mebibyte;
const junkMebibytes = 300;
const dirtyTimeoutMs = 600_000;
const where = '/mnt/vda';

type Tell = (text: string) => void;

/** Whatever waits here ends with the signal; what was begun is removed with the hypervisor. */
function untilInterrupted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const interrupted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(signal.reason instanceof Error ? signal.reason : new AppError('interrupted', 'interrupted'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  return Promise.race([work, interrupted]);
}

async function measure(guest: Guest, step: DemoStep['step']): Promise<DemoStep> {
  const { file } = guest.disk('vda');
  const used = Number((await guest.runChecked(`df -k ${where} | awk 'NR == 2 { print $3 }'`)).trim()) * 1024;
  return { step, guestUsedBytes: used, imageBytes: (await stat(file ?? '')).blocks * 512 };
}

interface DemoRun {
  readonly steps: readonly DemoStep[];
  readonly trim: TrimResult;
}

/** Dirties the guest and has the product's own trim clean it. */
async function runSteps(guest: Guest, context: CommandContext, tell: Tell): Promise<DemoRun> {
  const steps = [await measure(guest, 'clean')];
  tell(`the guest writes ${junkMebibytes} MiB of random data`);
  await guest.runChecked(`dd if=/dev/urandom of=${where}/junk bs=1M count=${junkMebibytes} && sync`, dirtyTimeoutMs);
  steps.push(await measure(guest, 'written'));
  tell('and deletes them again');
  await guest.runChecked(`rm ${where}/junk && sync && sleep 1 && sync`, dirtyTimeoutMs);
  steps.push(await measure(guest, 'deleted'));
  tell(`virt-trim trim ${guest.name}`);
  const { result } = await trimDomain(guest.connection, new AgentClient(guest.connection), guest, {
    minimumBytes: null,
    timeoutSeconds: null,
    force: false,
    dryRun: false,
    excludeDisks: [],
    signal: context.signal,
  });
  return { steps: [...steps, await measure(guest, 'trimmed')], trim: result };
}

async function runInGuest(
  hypervisor: Hypervisor,
  agent: AgentSpec & { kind: DemoAgent },
  context: CommandContext,
  tell: Tell,
): Promise<DemoRun> {
  tell(`a throw-away guest: ext4 on virtio-blk, discard=unmap, Debian’s kernel and ${agentTitles[agent.kind]}`);
  const guest = await defineTinyGuest(hypervisor, { name: 'virt-trim-demo', agent, disks: [{ sizeBytes: diskBytes }] });
  await guest.boot();
  return runSteps(guest, context, tell);
}

const captions: Readonly<Record<DemoStep['step'], string>> = {
  clean: 'new',
  written: `wrote ${junkMebibytes} MiB`,
  deleted: 'deleted them',
  trimmed: 'virt-trim trim',
};

function renderResult({ steps, trim }: DemoRun): string {
  const rows = steps.map(({ step, guestUsedBytes, imageBytes }) => [captions[step], formatBytes(guestUsedBytes), formatBytes(imageBytes)]);
  const table = renderTable(
    [{ head: 'Guest' }, { head: 'Used in the guest', align: 'right' }, { head: 'Image on the host', align: 'right' }],
    rows,
  );
  const claimed = trim.paths.reduce((sum, path) => sum + (path.trimmedBytes ?? 0), 0);
  const back = trim.disks[0]?.reclaimedBytes ?? null;
  return [
    table,
    '',
    `The host got back ${formatBytes(back)}, measured at the image. The guest claims to have trimmed ${formatBytes(claimed)}:`,
    'that is all of its free space, and says nothing about the host.',
    '',
  ].join('\n');
}

/** Done when the host really got back what the guest had deleted, within a twentieth of the image's first size. */
function isBack(steps: readonly DemoStep[]): boolean {
  const bytes = (step: DemoStep['step']): number => steps.find((one) => one.step === step)?.imageBytes ?? Number.NaN;
  return bytes('deleted') - bytes('trimmed') >= 0.95 * junkMebibytes * mebibyte;
}

export interface DemoOptions {
  readonly purge: boolean;
  /** Who answers in the guest; null: ours where this installation has it. */
  readonly agent: DemoAgent | null;
}

/**
 * `virt-trim demo`: a guest of its own on a hypervisor of its own; no VM, daemon or setting of the user's is touched.
 * @returns the exit status.
 * @throws AppError `usage` with -c; `permission-denied` without root; `tool-missing`, `tool-failed`, `interrupted`.
 */
export async function runDemo(context: CommandContext, options: DemoOptions): Promise<number> {
  if (context.uri !== '') throw new AppError('usage', '-c: the demo brings a hypervisor of its own');
  if (process.getuid?.() !== 0) {
    throw new AppError('permission-denied', 'demo needs root: it starts a libvirtd of its own in a mount namespace (sudo virt-trim demo)');
  }
  const startedAt = new Date();
  const tell: Tell = (text) => context.say(`[${((Date.now() - startedAt.getTime()) / 1000).toFixed(1).padStart(5)} s] ${text}`);
  try {
    tell('Debian’s kernel, downloaded the first time');
    const [agent] = await Promise.all([chooseAgent(options.agent, context.signal), ensureKernel('cloud', context.signal)]);
    tell('a private hypervisor');
    await using hypervisor = await startHypervisor();
    const run = await untilInterrupted(context.signal, runInGuest(hypervisor, agent, context, tell));
    tell('removes guest and hypervisor');
    await hypervisor.dispose();
    const ok = run.trim.status === 'ok' && isBack(run.steps);
    const status = ok ? exitStatus.done : exitStatus.failed;
    if (context.json) printEnvelope({ ...context, uri: hypervisor.uri }, 'demo', startedAt, status, [run.trim], { steps: run.steps });
    else context.out(`\n${renderResult(run)}`);
    if (!ok) context.log.error(run.trim.reason ?? 'the space did not come back');
    return status;
  } finally {
    if (options.purge) await purgeCache();
    tell(options.purge ? `removed ${cacheDirectory()}` : `what was downloaded stays in ${cacheDirectory()}; --purge removes that too`);
  }
}
