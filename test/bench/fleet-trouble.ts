import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Rig } from '../rig/rig.ts';
import { hanging, idealMs, makeAllDue, parseLines, perBackend, type Member } from './fleet-members.ts';
import { ratio, type Table, type Workplace } from './measure.ts';

/** So long the second hypervisor answers nobody. */
const stoppedMs = 90_000;
const patienceMs = 600_000;

/** The same two dozen, all due at once: one guest hangs, and one hypervisor is stopped (SIGSTOP) as soon as the first trims run. */
export async function measureTrouble(work: Workplace, rigs: readonly Rig[], members: readonly Member[]): Promise<Table> {
  const [first, second] = rigs;
  const hung = members.find(({ agent, rig }) => agent !== null && rig === first);
  if (first === undefined || second === undefined || hung === undefined) throw new Error('the fleet is not there');
  const env = await makeAllDue(work, rigs, members, `domains: [{ match: '${hung.guest.name}', timeout: 20s }]\n`);
  hanging.add(hung.guest.name);
  const daemon = execa(process.execPath, [work.main, 'daemon'], { reject: false, stdin: 'ignore', env });
  let text = '';
  daemon.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const trimmed = (rig: Rig): Member[] => {
    const names = new Set(parseLines(text).flatMap(({ event, domain, status }) => (event === 'trim' && status === 'ok' ? [domain] : [])));
    return members.filter((member) => member.rig === rig && names.has(member.guest.name));
  };
  const until = async (condition: () => boolean): Promise<boolean> => {
    const end = performance.now() + patienceMs;
    while (!condition() && performance.now() < end) await sleep(100);
    return condition();
  };
  try {
    // When the first have to wait, all places are taken.
    await until(() => parseLines(text).some(({ event }) => event === 'waiting'));
    await sleep(3000);
    await second.hypervisor.pauseDaemon();
    const stoppedAt = Date.now();
    const free = members.filter((member) => member.rig === first && member !== hung);
    await until(() => trimmed(first).length === free.length);
    await sleep(Math.max(0, stoppedAt + stoppedMs - Date.now()));
    const early = trimmed(second).length;
    await second.hypervisor.resumeDaemon();
    const resumedAt = Date.now();
    await until(() => trimmed(second).length === 12);
    const lines = parseLines(text);
    const startedAt = lines.find(({ event }) => event === 'start')?.time ?? 0;
    const endOf = (of: readonly Member[]): number =>
      Math.max(
        ...of.map(
          ({ guest }) => lines.find(({ event, domain, status }) => event === 'trim' && status === 'ok' && domain === guest.name)?.time ?? 0,
        ),
      );
    const wallMs = endOf(free) - startedAt;
    const ideal = idealMs(free, ({ agent, trimMs }) => (agent === null ? 0 : trimMs));
    const backMs = endOf(members.filter(({ rig }) => rig === second)) - resumedAt;
    return {
      title: `daemon: the same ${members.length}, one guest hangs and one hypervisor is stopped in the middle`,
      head: ['what', 'figure'],
      rows: [
        ['trimmed on the hypervisor that works, but for the one that hangs', `${trimmed(first).length} of ${free.length}`],
        ['their wall time', `${(wallMs / 1000).toFixed(1)} s`],
        ["ideal packing of those guests' own trims, were they alone", `${(ideal / 1000).toFixed(1)} s, ${ratio(wallMs, ideal)}`],
        [
          'the one that hangs',
          lines.find(({ domain, code }) => domain === hung.guest.name && typeof code === 'string')?.code ?? 'nothing said',
        ],
        ['the stopped hypervisor', lines.find(({ event }) => event === 'hypervisor-down')?.code ?? 'nothing said'],
        [`trimmed there before it was stopped, and in ${stoppedMs / 1000} s of it`, String(early)],
        ['trimmed there in all, after it went on', `${trimmed(second).length} of 12, the last ${(backMs / 1000).toFixed(1)} s later`],
      ],
      note: `Up to ${perBackend} places of each backend were held by guests of the stopped hypervisor until it had missed two looks; then the places are given to others.`,
    };
  } finally {
    hanging.clear();
    await second.hypervisor.resumeDaemon();
    daemon.kill('SIGTERM');
    await daemon;
  }
}
