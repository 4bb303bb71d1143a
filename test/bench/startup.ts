import { alternate, median, milliseconds, ratio, timed, type Table, type Workplace } from './measure.ts';

/** What our own start-up adds to Node's. */
export async function benchStartup(work: Workplace): Promise<Table> {
  const times = await alternate(15, {
    'node -e 0': () => timed(process.execPath, ['-e', '0']),
    'virt-trim --version': () => timed(process.execPath, [work.main, '--version']),
    'virt-trim --help': () => timed(process.execPath, [work.main, '--help']),
  });
  const node = median(times['node -e 0'] ?? []);
  return {
    title: 'Start-up',
    head: ['command', 'median of 15', 'against node -e 0'],
    rows: Object.entries(times).map(([name, values]) => [`\`${name}\``, milliseconds(median(values)), ratio(median(values), node)]),
    note: 'Alternating in one run.',
  };
}
