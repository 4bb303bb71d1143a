import { chmod, mkdir, mkdtemp, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Element } from '@xmldom/xmldom';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trimResult, type TrimResult } from '../../host/trim/schema.ts';
import type { Guest } from '../../host/demo/guest.ts';
import { slowAgent } from '../rig/agent-scripts.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import type { ScriptedAgent } from '../rig/scripted-agent.ts';

const mebibyte = 1024 * 1024;
const slowMs = 4000;

let rig: Rig;
let cli: Cli;
let directory: string;
let guest: Guest;
let slow: { guest: Guest; agent: ScriptedAgent };
let nbd: ReturnType<typeof startNbd>;

/** A network disk's other end. */
function startNbd(image: string, socket: string) {
  return execa('qemu-nbd', ['--socket', socket, '--persistent', '--shared', '4', '--format', 'raw', image], { reject: false });
}

/** Appends a disk as XML that the rig has no word for. */
function addNetworkDisk(domain: Element, socket: string): void {
  const document = domain.ownerDocument;
  if (document === null) throw new Error('no document');
  const make = (name: string, attributes: Readonly<Record<string, string>>, ...children: Element[]): Element => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    for (const child of children) element.appendChild(child);
    return element;
  };
  const source = make('source', { protocol: 'nbd', name: '' }, make('host', { transport: 'unix', socket }));
  const disk = make(
    'disk',
    { type: 'network', device: 'disk' },
    make('driver', { name: 'qemu', type: 'raw', discard: 'unmap' }),
    source,
    make('target', { dev: 'vdz', bus: 'virtio' }),
  );
  domain.getElementsByTagName('devices')[0]?.appendChild(disk);
}

beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-bad-'));
  await chmod(directory, 0o755);
  const image = path.join(directory, 'nbd.raw');
  const socket = path.join(directory, 'nbd.sock');
  await writeFile(image, Buffer.alloc(mebibyte));
  nbd = startNbd(image, socket);
  while (
    !(await stat(socket).then(
      () => true,
      () => false,
    ))
  )
    await sleep(20);
  await chmod(socket, 0o777);
  [guest, slow] = await Promise.all([
    rig.boot({
      name: 'odd-disks',
      disks: [
        { sizeBytes: 128 * mebibyte },
        { format: 'raw', filesystem: null, sizeBytes: 8 * mebibyte },
        { filesystem: null, sizeBytes: 8 * mebibyte },
        { bus: 'scsi', cdrom: 'empty' },
        { bus: 'scsi', cdrom: 'medium', sizeBytes: mebibyte },
      ],
      edit: (domain) => addNetworkDisk(domain, socket),
    }),
    rig.bootScripted({ name: 'slow', disks: [{ filesystem: null, sizeBytes: 8 * mebibyte }] }, slowAgent(slowMs)),
  ]);
});
afterAll(async () => {
  await rig.dispose();
  nbd.kill();
  await nbd;
  await cli[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function trim(...args: string[]): Promise<{ exitCode: number | undefined; stderr: string; domains: TrimResult[] }> {
  const { result, envelope } = await cli.json('trim', ...args);
  return { exitCode: result.exitCode, stderr: result.stderr, domains: envelope.domains.map((domain) => trimResult.parse(domain)) };
}

describe('disks that are no plain file', () => {
  it('a network disk is named with the reason, drives with and without a CD are no disks, an image that was unlinked is not 0', async () => {
    await unlink(guest.disk('vdc').file ?? '');
    const { domains } = await trim(guest.name);
    const disks = new Map(domains[0]?.disks.map((disk) => [disk.target, disk]));
    expect([...disks.keys()].toSorted()).toEqual(['vda', 'vdb', 'vdc', 'vdz']);
    expect(disks.get('vda')).toMatchObject({ method: 'st_blocks', stable: true });
    expect(disks.get('vdz')).toMatchObject({
      method: 'none',
      beforeBytes: null,
      afterBytes: null,
      reclaimedBytes: null,
      reason: expect.stringMatching(/network disk \(nbd\)/) as unknown,
    });
    const unlinked = disks.get('vdc');
    expect(unlinked?.method === 'domstats' || unlinked?.beforeBytes === null).toBe(true);
    const { result, envelope } = await cli.json('list');
    expect(result.exitCode).toBe(0);
    expect(JSON.stringify(envelope)).toContain('vdz');
  });
});

describe('a raw disk whose guest wrote a qcow2 header that names a file of the host', () => {
  it('nothing of ours opens that file, nor looks into the image', async () => {
    const canary = path.join(directory, 'canary');
    await writeFile(canary, Buffer.alloc(mebibyte, 'secret '));
    const header = Buffer.alloc(1024);
    header.write('QFI\u00fb', 0, 'latin1');
    header.writeUInt32BE(3, 4); // version
    header.writeBigUInt64BE(512n, 8); // where the backing file's name stands
    header.writeUInt32BE(canary.length, 16);
    header.writeUInt32BE(16, 20); // cluster bits
    header.writeBigUInt64BE(BigInt(8 * mebibyte), 24); // capacity
    header.writeUInt32BE(1, 36); // L1 size
    header.writeBigUInt64BE(65_536n, 40);
    header.writeBigUInt64BE(131_072n, 48);
    header.writeUInt32BE(1, 56);
    header.writeUInt32BE(4, 96);
    header.writeUInt32BE(104, 100);
    header.write(canary, 512);
    await guest.runChecked(`echo ${header.toString('base64')} | base64 -d | dd of=/dev/vdb bs=1024 conv=notrunc 2>/dev/null; sync`);
    const image = guest.disk('vdb').file ?? '';
    // It would work: whoever probes the format ends up at the canary.
    expect((await execa('qemu-img', ['info', '-U', image])).stdout).toContain(canary);

    for (const [verb, ...args] of [
      ['trim', guest.name],
      ['list', '--probe'],
      ['sizes', guest.name],
      ['doctor', guest.name],
    ] as const) {
      const log = path.join(directory, `strace-${verb}`);
      const command = [process.execPath, cli.file, '-c', rig.uri, verb, ...args];
      await execa('strace', ['-f', '-s', '300', '-e', 'trace=open,openat,execve', '-o', log, ...command], {
        reject: false,
        env: cli.env as Record<string, string>,
        stdin: 'ignore',
      });
      const trace = await readFile(log, 'utf8');
      expect(trace, 'strace saw nothing').toMatch(/virsh/);
      expect(
        trace.split('\n').filter((line) => /open/.test(line) && line.includes(canary)),
        verb,
      ).toEqual([]);
      // qemu-img never sees this image without being told that it is raw.
      for (const line of trace.split('\n').filter((each) => /execve\(.*qemu-img/.test(each) && each.includes(image)))
        expect(line).toMatch(/"-f", "raw"/);
    }
  });
});

describe('no space left on the host', () => {
  it('a full disk for the state costs the history, not the trim, and says so', async () => {
    const state = path.join(directory, 'full');
    await mkdir(state, { mode: 0o700 });
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=700', 'tmpfs', state]);
    try {
      await execa('dd', ['if=/dev/zero', `of=${path.join(state, 'filler')}`], { reject: false });
      await using full = await Cli.create(rig.uri, { VIRT_TRIM_STATE_DIR: state });
      const { exitCode, stderr, stdout } = await full.run('trim', guest.name);
      expect(stderr).toMatch(/history\.jsonl.*(?:no space left|ENOSPC)/i);
      expect(stdout).toContain('1 domain: 1 ok');
      expect(exitCode).toBe(0);
    } finally {
      await execa('umount', [state]);
    }
  });

  it('a guest that its full storage has paused is not trimmed, and the reason is the storage', async () => {
    const small = path.join(directory, 'small');
    const image = path.join(directory, 'small.ext4');
    await mkdir(small);
    await execa('truncate', ['-s', '96M', image]);
    await execa('mkfs.ext4', ['-q', '-F', image]);
    await execa('mount', ['-o', 'loop', image, small]);
    const tight = await startRig({ base: small });
    try {
      const full = await tight.boot({ name: 'full', disks: [{ sizeBytes: 256 * mebibyte }] });
      await full.run('dd if=/dev/zero of=/mnt/vda/junk bs=1M count=120 conv=fsync 2>/dev/null', 8000);
      while (!(await full.virsh('domstate', '--reason', full.uuid)).includes('I/O error')) await sleep(200);
      await using other = await Cli.create(tight.uri);
      const { result, envelope } = await other.json('trim', 'full');
      expect(envelope.domains[0]).toMatchObject({
        status: 'skipped',
        code: 'degraded',
        reason: expect.stringMatching(/I\/O error.*storage/) as unknown,
      });
      expect(result.exitCode).toBe(32);
      // Nobody's fault is neutral under --all; this is somebody's.
      expect((await other.run('trim', '--all')).exitCode).toBe(32);
    } finally {
      await tight.dispose();
      await execa('umount', [small]);
    }
  });
});

describe('libvirtd', () => {
  it('a domain deleted between list and trim is a failure of its own; the other is trimmed', async () => {
    const doomed = await rig.define({ name: 'doomed', disks: [{ filesystem: null, sizeBytes: mebibyte }] });
    // virsh that undefines the domain behind our back, once we have listed it.
    const virsh = path.join(directory, 'deleting-virsh');
    await writeFile(
      virsh,
      `#!/bin/sh\ncase "$*" in *"list --all"*) virsh "$@"; status=$?; virsh -q -c '${rig.uri}' undefine ${doomed.uuid} >/dev/null; exit $status;; esac\nexec virsh "$@"\n`,
    );
    await chmod(virsh, 0o755);
    await using deleting = await Cli.create(rig.uri, { VIRT_TRIM_VIRSH: virsh });
    const { result, envelope } = await deleting.json('trim', 'doomed', guest.name);
    const [gone, kept] = envelope.domains.map((domain) => trimResult.parse(domain));
    expect(gone).toMatchObject({ name: 'doomed', uuid: doomed.uuid, status: 'failed', code: 'domain-unknown' });
    expect(kept).toMatchObject({ name: guest.name, status: 'ok' });
    expect(result.exitCode).toBe(64);
  });

  it('stopped (SIGSTOP): given up after 10 s, and named', async () => {
    await rig.hypervisor.pauseDaemon();
    try {
      const { exitCode, stderr, durationMs } = await cli.run('trim', guest.name);
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`no answer from ${rig.uri} within 10 s`);
      expect(durationMs).toBeLessThan(13_000);
    } finally {
      await rig.hypervisor.resumeDaemon();
    }
  });

  it('stopped (SIGSTOP) while a guest trims, and going on later: the answer is had', async () => {
    const before = slow.agent.count('guest-fstrim');
    const running = trim('slow');
    while (slow.agent.count('guest-fstrim') === before) await sleep(20);
    const stoppedAt = performance.now();
    await rig.hypervisor.pauseDaemon();
    await sleep(slowMs + 2000);
    await rig.hypervisor.resumeDaemon();
    const { exitCode, domains } = await running;
    expect(performance.now() - stoppedAt).toBeGreaterThan(slowMs + 2000);
    expect(domains).toMatchObject([{ name: 'slow', status: 'ok', code: null }]);
    expect(exitCode).toBe(0);
  });

  it('dying while a guest trims: said at once, and that the guest may trim on', async () => {
    const before = slow.agent.count('guest-fstrim');
    const running = trim('slow');
    while (slow.agent.count('guest-fstrim') === before) await sleep(20);
    await rig.hypervisor.killDaemon();
    const killedAt = performance.now();
    const { exitCode, domains } = await running;
    expect(performance.now() - killedAt).toBeLessThan(6000);
    expect(domains).toMatchObject([{ name: 'slow', status: 'failed', code: 'connection-lost', guestStillRunning: true }]);
    expect(exitCode).toBe(32);
  });

  it('down: cannot connect, named', async () => {
    const { exitCode, stderr, stdout } = await cli.run('list');
    expect(exitCode).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(`cannot connect to ${rig.uri}: `);
  });

  it('and when it is back, so are we', async () => {
    await rig.hypervisor.startDaemon();
    const { exitCode } = await cli.run('trim', guest.name);
    expect(exitCode).toBe(0);
  });
});
