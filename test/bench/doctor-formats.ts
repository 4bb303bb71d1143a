import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';

/**
 * Writes 32 MiB into an image of each format, discards them with qemu-io as QEMU does for a guest, and looks at what the host got back.
 *
 *   npx tsx test/bench/doctor-formats.ts
 */

const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-formats-'));
const at = (name: string): string => path.join(directory, name);
const allocated = async (name: string): Promise<number> => (await stat(at(name))).blocks * 512;

async function io(format: string, name: string, command: string, more: readonly string[] = []): Promise<void> {
  const where = more.length > 0 ? [...more] : ['-f', format, at(name)];
  await execa('qemu-io', ['-d', 'unmap', '-c', command, ...where]);
}

async function measure(what: string, format: string, create: readonly string[], name: string, more: readonly string[] = []): Promise<void> {
  await execa('qemu-img', ['create', '-q', ...create]);
  await io(format, name, 'write -P 5 0 32M', more);
  const before = await allocated(name);
  await io(format, name, 'discard 0 32M', more);
  const back = before - (await allocated(name));
  console.log(`| ${what} | ${(before / 1024 ** 2).toFixed(1)} MiB | ${((back * 100) / (32 * 1024 ** 2)).toFixed(1)} % |`);
}

try {
  const { stdout } = await execa('qemu-img', ['--version']);
  console.log(`${stdout.split('\n')[0]}\n\n| image | allocated after writing 32 MiB | given back |\n|---|---|---|`);
  for (const format of ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'qed', 'qcow', 'parallels']) {
    await measure(format, format, ['-f', format, at(format), '64M'], format);
  }
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', at('base'), '64M']);
  await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 6 0 64M', at('base')]);
  for (const compat of ['0.10', '1.1']) {
    await measure(`qcow2 compat=${compat}`, 'qcow2', ['-f', 'qcow2', '-o', `compat=${compat}`, at(`c${compat}`), '64M'], `c${compat}`);
    const over = ['-f', 'qcow2', '-o', `compat=${compat}`, '-b', at('base'), '-F', 'qcow2', at(`o${compat}`), '64M'];
    await measure(`qcow2 compat=${compat} over a backing file`, 'qcow2', over, `o${compat}`);
  }
  await measure(
    'qcow2 with a data file (the data file)',
    'qcow2',
    ['-f', 'qcow2', '-o', `data_file=${at('data')}`, at('with-data'), '64M'],
    'data',
    ['-f', 'qcow2', at('with-data')],
  );
  const secret = ['--object', 'secret,id=s,data=abc'];
  const opened = (driver: string, name: string): string[] => [
    ...secret,
    '--image-opts',
    `driver=${driver},${driver === 'luks' ? '' : 'encrypt.'}key-secret=s,discard=unmap,file.driver=file,file.discard=unmap,file.filename=${at(name)}`,
  ];
  await measure(
    'LUKS over raw',
    'luks',
    [...secret, '-f', 'luks', '-o', 'key-secret=s,iter-time=2000', at('luks'), '64M'],
    'luks',
    opened('luks', 'luks'),
  );
  await measure(
    'LUKS inside qcow2',
    'qcow2',
    [...secret, '-f', 'qcow2', '-o', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=2000', at('qluks'), '64M'],
    'qluks',
    opened('qcow2', 'qluks'),
  );
} finally {
  await rm(directory, { recursive: true, force: true });
}
