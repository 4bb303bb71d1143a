import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { measureImage } from '../../host/libvirt/qemu-img.ts';
import { commitmentOf, LayoutMeasurer } from '../../host/sizes/commitment.ts';
import { sizeFile } from '../../host/sizes/gather.ts';
import { isUnreadableImage, readImage, type ImageFacts } from '../../host/sizes/image.ts';

// Real qemu-img on real images; the figure we compute from a header is compared with what qemu-img says of the image itself.

const run = promisify(execFile);
let directory = '';
const at = (name: string) => path.join(directory, name);

async function create(name: string, size: string, ...options: string[]): Promise<ImageFacts> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, at(name), size]);
  const image = await readImage(at(name), 'qcow2');
  if (isUnreadableImage(image)) throw new Error(image.problem);
  return image;
}

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-images-'));
});
afterAll(async () => rm(directory, { recursive: true, force: true }));

describe('the commitment', () => {
  test.each([
    ['64 KiB clusters', '3G', []],
    ['2 MiB clusters', '3G', ['-o', 'cluster_size=2M']],
    ['extended L2', '3G', ['-o', 'extended_l2=on,cluster_size=128k']],
    ['one-bit refcounts', '3G', ['-o', 'refcount_bits=1']],
    ['the old format', '3G', ['-o', 'compat=0.10']],
  ])('of an image with %s is what qemu-img measures on it', async (_what, size, options) => {
    const name = `c${options.join('')}`.replaceAll('=', '-');
    const image = await create(name, size, ...options);
    const { stdout } = await run('qemu-img', ['measure', '--output', 'json', '-f', 'qcow2', '-O', 'qcow2', ...layoutOf(image), at(name)]);
    expect(await commitmentOf(image, new LayoutMeasurer())).toEqual({
      bytes: JSON.parse(stdout)['fully-allocated'],
      unbounded: false,
      reason: null,
    });
  });

  test('of a hundred images of one layout costs one process', async () => {
    const image = await create('same', '5G');
    const program = at('counting-qemu-img');
    await writeFile(program, `#!/bin/sh\necho x >> ${at('count')}\nexec qemu-img "$@"\n`, { mode: 0o755 });
    const measurer = new LayoutMeasurer({ program });
    await Promise.all(Array.from({ length: 100 }, async () => commitmentOf(image, measurer)));
    const { stdout } = await run('wc', ['-l', at('count')]);
    expect(stdout.split(' ')[0]).toBe('1');
  });

  test('of an image with an internal snapshot has no bound', async () => {
    await create('snapshot', '64M');
    await run('qemu-img', ['snapshot', '-c', 's1', at('snapshot')]);
    const image = await readImage(at('snapshot'), 'qcow2');
    expect(await commitmentOf(image as ImageFacts, new LayoutMeasurer())).toMatchObject({ bytes: null, unbounded: true });
  });
});

/** The options that `measure -O qcow2` takes from its command line and not from the source. */
function layoutOf(image: ImageFacts): string[] {
  const header = image.qcow2;
  if (header === null) throw new Error('no header');
  const options = [`cluster_size=${header.clusterBytes}`, `refcount_bits=${header.refcountBits}`];
  return ['-o', [...options, ...(header.extendedL2 ? ['extended_l2=on'] : [])].join(',')];
}

describe('nothing that a header names is opened', () => {
  test('a backing file: the measure succeeds although it does not exist', async () => {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', at('does-not-exist'), '-F', 'raw', at('overlay'), '64M']);
    const image = { path: at('overlay'), kind: 'file', format: 'qcow2', inUse: false } as const;
    await expect(run('qemu-img', ['measure', '-f', 'qcow2', '-O', 'qcow2', at('overlay')])).rejects.toThrow(/does-not-exist/);
    expect((await measureImage(image)).requiredBytes).toBeGreaterThan(0);
  });

  test('a data file: the sparsify figure is left out, and the reason given', async () => {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${at('data.raw')}`, at('with-data'), '64M']);
    await rm(at('data.raw'));
    const options = { isLocal: true, volumes: new Map<string, string>(), measurer: new LayoutMeasurer(), sparsify: true };
    const { sizes } = await sizeFile(at('with-data'), 'qcow2', options);
    expect(sizes).toMatchObject({ commitmentBytes: null, reclaimableBySparsifyBytes: null, capacityBytes: 64 * 1024 ** 2 });
    expect(sizes.reason).toContain('not followed');
  });

  test('a raw disk on which the guest wrote a qcow2 header stays raw', async () => {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', at('evil'), '1T']);
    const options = { isLocal: true, volumes: new Map<string, string>(), measurer: new LayoutMeasurer(), sparsify: true };
    const { sizes } = await sizeFile(at('evil'), 'raw', options);
    expect(sizes.capacityBytes).toBe(sizes.lengthBytes);
    expect(sizes.capacityBytes).toBeLessThan(1024 ** 2);
  });
});

test('a pipe in the place of an image is refused at once', async () => {
  await run('mkfifo', [at('pipe')]);
  expect(await readImage(at('pipe'), 'raw')).toEqual({ path: at('pipe'), problem: 'is neither a file nor a block device' });
});
