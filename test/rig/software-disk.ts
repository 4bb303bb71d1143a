import { chmod, copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';

/** Where the guest mounts it. */
export const softwareDirectory = '/mnt/vdb';

/** `program` and the libraries that ldd(1) names, the dynamic loader among them. */
async function copyWithLibraries(program: string, directory: string): Promise<void> {
  const real = (await execa('readlink', ['-f', program])).stdout;
  await copyFile(real, path.join(directory, 'bin', path.basename(program)));
  const { stdout } = await execa('ldd', [real]);
  for (const [, file] of stdout.matchAll(/(?:=> )?(\/[^ ]+) \(0x/g)) {
    if (file !== undefined) await copyFile(file, path.join(directory, 'lib', path.basename(file)));
  }
}

/** Runs a program of this machine in the guest with the libraries of this machine. */
function wrapper(program: string, args = ''): string {
  return `#!/bin/sh\nexec ${softwareDirectory}/lib/ld-linux-x86-64.so.2 --library-path ${softwareDirectory}/lib ${softwareDirectory}/bin/${program} ${args}"$@"\n`;
}

/** Fills a raw disk that has an ext4 with the built program, its units, Node and virsh: `run/virt-trim` and `run/virsh` start them. */
export async function fillSoftwareDisk(file: string, mainFile: string): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-software-'));
  await execa('mount', ['-o', 'loop', file, directory]);
  try {
    for (const name of ['bin', 'lib', 'run', 'units']) await mkdir(path.join(directory, name), { recursive: true });
    await copyWithLibraries(process.execPath, directory);
    await copyWithLibraries((await execa('which', ['virsh'])).stdout, directory);
    await cp(path.dirname(mainFile), path.join(directory, 'dist'), { recursive: true });
    await writeFile(path.join(directory, 'dist/package.json'), '{"type":"module"}');
    await cp('host/units', path.join(directory, 'units'), { recursive: true });
    const programs = { 'virt-trim': wrapper('node', `${softwareDirectory}/dist/main.js `), virsh: wrapper('virsh') };
    for (const [name, text] of Object.entries(programs)) {
      await writeFile(path.join(directory, 'run', name), text);
      await chmod(path.join(directory, 'run', name), 0o755);
    }
    await readFile(path.join(directory, 'dist/main.js')); // it is there, or the test would blame systemd
  } finally {
    await execa('umount', [directory]);
    await rm(directory, { recursive: true });
  }
}
