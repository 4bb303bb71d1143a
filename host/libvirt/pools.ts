import { toAppError } from '../../shared/errors.ts';
import type { Connection, RunOptions } from './connection.ts';
import { attribute, child, parseXml, textOf } from './xml.ts';

/** A storage pool, as far as it tells which disks share what (https://libvirt.org/formatstorage.html). */
export interface StoragePool {
  readonly name: string;
  /** dir, netfs, logical, rbd, … */
  readonly type: string;
  /** Where its volumes are seen on that host. */
  readonly path: string | null;
  /** `HOST:/export` of a network filesystem, the volume group's or Ceph pool's name. */
  readonly source: string | null;
}

/** Reads `virsh pool-dumpxml`. @throws AppError `tool-failed`. */
export function parsePoolXml(text: string): StoragePool {
  const root = parseXml(text, 'virsh pool-dumpxml');
  const source = child(root, 'source');
  const host = attribute(child(root, 'source', 'host'), 'name');
  const directory = attribute(child(root, 'source', 'dir'), 'path');
  const type = attribute(root, 'type') ?? '?';
  const name = textOf(child(root, 'name')) ?? '';
  return {
    name,
    type,
    path: textOf(child(root, 'target', 'path')),
    source:
      type === 'netfs' ? `${host ?? '?'}:${directory ?? '?'}` : (textOf(source === undefined ? undefined : child(source, 'name')) ?? null),
  };
}

/** The active pools of a connection; none where libvirt has no storage driver or would not say. Two virsh processes. */
export async function readPools(connection: Connection, options: RunOptions = {}): Promise<StoragePool[]> {
  try {
    const names = (await connection.run(['pool-list', '--name'], options)).split('\n').map((line) => line.trim());
    const known = names.filter((name) => name !== '');
    if (known.length === 0) return [];
    const answers = await connection.runAll(
      known.map((name) => ['pool-dumpxml', '--pool', name]),
      options,
    );
    return answers.flatMap((answer) => (answer.ok ? [parsePoolXml(answer.stdout)] : []));
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted' || error.code === 'internal') throw thrown;
    return []; // the pools only make an identity better; whoever needs the connection will say what is wrong with it
  }
}
