import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { Connection } from '../../host/libvirt/connection.ts';
import { startRig } from '../rig/rig.ts';

/**
 * `doctor --json` and `sizes --json` over many defined domains with real images on a private hypervisor: time, memory, and the
 * processes they start, counted by programs of the same names in front on PATH.
 *
 *   npm run build; npx tsx test/bench/doctor-many.ts [domains=200]
 */

const count = Number(process.argv[2] ?? 200);
const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-many-'));
const programs = ['virsh', 'qemu-img', 'filefrag', 'zfs', 'fallocate', 'lvs'];

function domainXml(index: number, image: string): string {
  const bus = index % 3 === 0 ? 'sata' : 'virtio';
  return `<domain type='qemu'><name>many-${String(index).padStart(4, '0')}</name><memory unit='MiB'>64</memory>
    <os><type arch='x86_64' machine='${index % 5 === 0 ? 'pc-q35-3.1' : 'q35'}'>hvm</type></os><devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'><driver name='qemu' type='qcow2'${index % 4 === 0 ? '' : " discard='unmap'"}/>
    <source file='${image}'/><target dev='${bus === 'sata' ? 'sda' : 'vda'}' bus='${bus}'/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>`;
}

try {
  await using rig = await startRig();
  const shims = path.join(directory, 'bin');
  await mkdir(shims);
  const log = path.join(directory, 'processes');
  for (const program of programs) {
    const { stdout: real, exitCode } = await execa('sh', ['-c', `command -v ${program}`], { reject: false });
    const end = exitCode === 0 ? `exec ${real} "$@"` : 'exit 127';
    await writeFile(path.join(shims, program), `#!/bin/sh\necho ${program} >> ${log}\n${end}\n`, { mode: 0o755 });
  }
  const defines: string[][] = [];
  for (let index = 0; index < count; index += 1) {
    const image = path.join(directory, `${index}.qcow2`);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, `${1 + (index % 4)}G`]);
    const xml = path.join(directory, `${index}.xml`);
    await writeFile(xml, domainXml(index, image));
    defines.push(['define', xml]);
  }
  const failed = (await new Connection(rig.uri).runAll(defines, { timeoutMs: 300_000 })).filter((answer) => !answer.ok).length;
  console.log(`${count} domains defined${failed === 0 ? '' : `, ${failed} FAILED`}`);
  for (const verb of [['list'], ['doctor'], ['sizes'], ['sizes', '--no-sparsify'], ['report', '--prometheus', '-']]) {
    await writeFile(log, '');
    const startedAt = performance.now();
    const env = { PATH: `${shims}:${process.env['PATH'] ?? ''}`, VIRT_TRIM_STATE_DIR: path.join(directory, 'state') };
    const timed = await execa(
      '/usr/bin/env',
      [
        'time',
        '-f',
        '%M',
        process.execPath,
        process.env['VIRT_TRIM_DIST'] === undefined ? 'dist/main.js' : path.join(process.env['VIRT_TRIM_DIST'], 'main.js'),
        '-c',
        rig.uri,
        '--json',
        ...verb,
      ],
      {
        env,
        reject: false,
      },
    );
    const seconds = (performance.now() - startedAt) / 1000;
    const started = (await readFile(log, 'utf8'))
      .trim()
      .split('\n')
      .filter((line) => line !== '');
    const byName = programs
      .map((name) => [name, started.filter((line) => line === name).length] as const)
      .filter(([, number]) => number > 0);
    const memory = /(\d+)\s*$/.exec(timed.stderr)?.[1] ?? '0';
    const answered = verb[0] === 'report' ? '' : ` for ${(JSON.parse(timed.stdout) as { domains: unknown[] }).domains.length} domains`;
    console.log(
      `${verb.join(' ')}: ${seconds.toFixed(2)} s${answered}, ${Math.round(Number(memory) / 1024)} MiB, processes: ${byName.map(([name, number]) => `${name} ${number}`).join(', ')}`,
    );
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
