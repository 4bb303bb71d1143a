import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { Hypervisor } from '../../host/demo/hypervisor.ts';

/** A file system of its own on a loop device: a storage backend that several hypervisors of the rig share. */
export class LoopBackend implements AsyncDisposable {
  readonly directory: string;
  readonly #file: string;

  private constructor(directory: string, file: string) {
    this.directory = directory;
    this.#file = file;
  }

  /** Before the hypervisors are started: their mount namespaces are copies. */
  static async create(bytes: number): Promise<LoopBackend> {
    const base = await mkdtemp(path.join(process.env['VIRT_TRIM_RIG_BASE'] ?? '/var/tmp', 'virt-trim-fs-'));
    const file = `${base}.img`;
    await writeFile(file, '');
    await truncate(file, bytes);
    await execa('mkfs.ext4', ['-q', '-F', file]);
    await execa('mount', ['-o', 'loop', file, base]);
    await execa('chmod', ['0755', base]);
    return new LoopBackend(base, file);
  }

  /** From now on the images of that guest are made here. */
  async hold(hypervisor: Hypervisor, uuid: string): Promise<void> {
    const target = path.join(this.directory, uuid);
    await mkdir(target, { recursive: true });
    await symlink(target, hypervisor.path('images', uuid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await execa('umount', [this.directory]);
    await rm(this.#file, { force: true });
    await rm(this.directory, { recursive: true, force: true });
  }
}
