import { writeFile } from 'node:fs/promises';
import { availableParallelism, release } from 'node:os';
import { execa } from 'execa';
import { benchDaemon } from './daemon.ts';
import { benchFleet } from './fleet.ts';
import { benchGuestAgent } from './guest-agent.ts';
import { benchList } from './list.ts';
import { toMarkdown, Workplace, type Table } from './measure.ts';
import { benchStartup } from './startup.ts';
import { benchTrim } from './trim.ts';

/**
 * `npm run bench [-- NAME…] [--record]`: prints tables; nothing is asserted on a time. Each compares with a peer in the same run, since
 * only ratios mean something under software emulation. `--record` writes RESULTS.md.
 */
const benches: Readonly<Record<string, (work: Workplace) => Promise<Table | Table[]>>> = {
  startup: benchStartup,
  trim: benchTrim,
  list: benchList,
  fleet: benchFleet,
  daemon: benchDaemon,
  'guest-agent': benchGuestAgent,
};

const words = process.argv.slice(2);
const chosen = Object.entries(benches).filter(([name]) => words.every((word) => word.startsWith('--')) || words.includes(name));
await using work = await Workplace.create();
const parts: string[] = [];
for (const [, bench] of chosen) {
  for (const table of [await bench(work)].flat()) {
    const text = toMarkdown(table);
    parts.push(text);
    process.stdout.write(`${text}\n`);
  }
}
if (words.includes('--record')) {
  const { stdout: libvirt } = await execa('virsh', ['--version']);
  const machine = `Linux ${release()}, ${availableParallelism()} cores, software emulation (TCG), libvirt ${libvirt}, Node ${process.version}`;
  const head = `# Results\n\nMade by \`npm run bench -- --record\` on ${new Date().toISOString().slice(0, 10)}: a virtual machine, ${machine}. Ratios count; times are this machine's.\n`;
  await writeFile(new URL('RESULTS.md', import.meta.url), [head, ...parts].join('\n'));
}
