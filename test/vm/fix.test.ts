import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Element } from '@xmldom/xmldom';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import type { TinyGuestSpec } from '../../host/demo/tiny-guest.ts';
import { canonicalLines } from '../../host/doctor/fix/canonical.ts';
import { doctorResult, type DoctorResult } from '../../host/doctor/schema.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';

// fix on real guests: broken, mended, started cold, trimmed, measured on the host; and taken back.

const mebibyte = 1024 ** 2;
const deletedMiB = 48;
const sizeBytes = 256 * mebibyte;

let rig: Rig;
let cli: Cli;

beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
});
afterAll(async () => {
  await rig?.dispose();
  await cli?.[Symbol.asyncDispose]();
});

const configuration = async (guest: Guest): Promise<string> => guest.virsh('dumpxml', '--inactive', '--security-info', guest.uuid);

async function examine(guest: Guest): Promise<DoctorResult> {
  return doctorResult.parse((await cli.json('doctor', guest.uuid)).envelope.domains[0]);
}

/** What the host gets back of what was deleted. */
async function trimAndMeasure(guest: Guest): Promise<number> {
  const { file, mountpoint } = guest.disks[0] ?? {};
  if (file === undefined || file === null || mountpoint === undefined || mountpoint === null) throw new Error('no disk');
  await guest.runChecked(
    `dd if=/dev/urandom of=/run/seed bs=1M count=4 2>/dev/null; i=0; while [ $i -lt ${deletedMiB / 4} ]; do cat /run/seed; i=$((i+1)); done > ${mountpoint}/junk && sync && rm ${mountpoint}/junk && sync`,
    120_000,
  );
  const allocated = async (): Promise<number> => (await stat(file)).blocks * 512;
  const before = await allocated();
  await cli.json('trim', '--force', guest.uuid);
  return (before - (await allocated())) / (deletedMiB * mebibyte);
}

interface FixCase {
  readonly what: string;
  readonly spec: TinyGuestSpec;
  readonly args: readonly string[];
  readonly added: RegExp;
  readonly rule: string;
}

const password = "passwd='hushhush'";

function addGraphics(domain: Element): void {
  const document = domain.ownerDocument;
  const graphics = document?.createElement('graphics');
  if (graphics === undefined) throw new Error('no document');
  graphics.setAttribute('type', 'vnc');
  graphics.setAttribute('passwd', 'hushhush');
  domain.getElementsByTagName('devices')[0]?.appendChild(graphics);
}

const disk = { sizeBytes } as const;
const cases: readonly FixCase[] = [
  {
    what: 'no discard attribute, and a VNC password in the XML',
    spec: { name: 'fix-discard', disks: [{ ...disk, discard: null }], edit: addGraphics },
    args: [],
    added: /^\+ +<driver discard="unmap" name="qemu" type="qcow2"\/>$/,
    rule: 'driver-discard',
  },
  {
    what: "discard='ignore' on virtio-scsi",
    spec: { name: 'fix-ignore', disks: [{ ...disk, bus: 'scsi', discard: 'ignore' }] },
    args: ['--only', 'driver-discard'],
    added: /^\+ +<driver discard="unmap"/,
    rule: 'driver-discard',
  },
  {
    what: 'virtio-blk on pc-i440fx-3.1',
    spec: { name: 'fix-i440fx', machine: 'pc-i440fx-3.1', disks: [disk] },
    args: ['--only', 'machine-type'],
    added: /^\+ +<type arch="x86_64" machine="pc-i440fx-\d+\.\d+">hvm<\/type>$/,
    rule: 'machine-type',
  },
  {
    what: 'virtio-blk on pc-q35-3.1, to a type that was named',
    spec: { name: 'fix-q35', machine: 'pc-q35-3.1', disks: [disk] },
    args: ['--only', 'machine-type', '--machine', 'pc-q35-4.2'],
    added: /^\+ +<type arch="x86_64" machine="pc-q35-4\.2">hvm<\/type>$/,
    rule: 'machine-type',
  },
];

describe.concurrent('fix', () => {
  test.each(cases.map((one) => [one.what, one] as const))('%s: shown, applied, started cold, trimmed, taken back', async (_what, one) => {
    const guest = await rig.boot({ ...one.spec, memoryMiB: 112 });
    const original = await configuration(guest);
    expect((await examine(guest)).findings.find((finding) => finding.rule === one.rule)?.verdict).toBe('blocks');

    const shown = await cli.run('fix', guest.uuid, ...one.args, '--print-diff');
    const changed = shown.stdout.split('\n').filter((line) => /^[+-]/.test(line));
    expect(changed).toHaveLength(2);
    expect(changed.find((line) => line.startsWith('+'))).toMatch(one.added);
    expect(shown.stdout).not.toContain('hushhush');
    expect(await configuration(guest)).toBe(original);

    const applied = await cli.json('fix', guest.uuid, ...one.args, '--yes');
    expect(applied.result.exitCode).toBe(0);
    expect(applied.envelope.domains[0]).toMatchObject({ applied: true, needsColdStart: true });
    // The guest goes on as it was started; doctor sees that in the running QEMU, and what the next start will bring.
    const pending = (await examine(guest)).findings.find((finding) => finding.rule === one.rule);
    expect(pending?.verdict).toBe('blocks');
    expect(pending?.message).toContain('The configuration is right already');

    await guest.destroy();
    await guest.boot();
    expect((await examine(guest)).verdict).toBe('ok');
    expect(await trimAndMeasure(guest)).toBeGreaterThan(0.95);
    await guest.destroy();

    const reverted = await cli.json('fix', guest.uuid, '--revert', '--yes');
    expect(reverted.envelope.domains[0]).toMatchObject({ action: 'revert', applied: true, needsColdStart: false });
    expect(canonicalLines(await configuration(guest))).toEqual(canonicalLines(original));
    if (one.spec.edit !== undefined) expect(await configuration(guest)).toContain(password);
  });
});

describe('fix refuses', () => {
  let guest: Guest;
  beforeAll(async () => {
    guest = await rig.define({ name: 'refusing', disks: [{ ...disk, discard: null }] });
  });

  test('what nobody said yes to', async () => {
    const { exitCode, stderr } = await cli.run('fix', 'refusing');
    expect(stderr).toContain('nobody is there to ask');
    expect(exitCode).toBe(2);
  });

  test('another chipset, which would rename the network cards', async () => {
    const old = await rig.define({ name: 'chipset', machine: 'pc-i440fx-3.1', disks: [disk] });
    const before = await configuration(old);
    const { exitCode, stderr } = await cli.run('fix', 'chipset', '--only', 'machine-type', '--machine', 'pc-q35-7.2', '--yes');
    expect(stderr).toContain('network cards get new names');
    expect(exitCode).toBe(1);
    expect(await configuration(old)).toBe(before);
  });

  test('an encrypted disk: explained, never switched on', async () => {
    await rig.define({
      name: 'encrypted',
      disks: [{ ...disk, discard: null, filesystem: null }],
      edit: (domain) => {
        const document = domain.ownerDocument;
        const source = domain.getElementsByTagName('source')[0];
        const encryption = document?.createElement('encryption');
        const secret = document?.createElement('secret');
        if (source === undefined || encryption === undefined || secret === undefined) throw new Error('no source');
        encryption.setAttribute('format', 'luks');
        secret.setAttribute('type', 'passphrase');
        secret.setAttribute('uuid', '0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f');
        encryption.appendChild(secret);
        source.appendChild(encryption);
      },
    });
    const { stderr } = await cli.run('fix', 'encrypted', '--yes');
    expect(stderr).toContain('holes would show anyone who gets the image which blocks are in use');
  });

  test('an attribute that this libvirt does not keep: found out by reading back, and undone', async () => {
    const grain = await rig.define({ name: 'grain', disks: [disk] });
    const before = canonicalLines(await configuration(grain));
    const { exitCode } = await cli.run('fix', 'grain', '--only', 'granularity', '--yes');
    const after = canonicalLines(await configuration(grain));
    if (exitCode === 0) expect(after.join('\n')).toContain('<blockio discard_granularity="65536"/>'); // a later libvirt
    else {
      expect(exitCode).toBe(3);
      expect(after).toEqual(before);
    }
  });

  test('while a block job runs: 75, and tried again it works', async () => {
    const busy = await rig.boot({ name: 'busy', memoryMiB: 112, disks: [{ ...disk, discard: null }] });
    await busy.runChecked('dd if=/dev/urandom of=/mnt/vda/data bs=1M count=24 2>/dev/null; sync');
    const copy = `${busy.disk('vda').file ?? ''}.copy`;
    await writeFile(copy, '');
    await busy.virsh('blockcopy', busy.uuid, 'vda', '--dest', copy, '--transient-job', '--bandwidth', '1', '--format', 'qcow2');
    const refused = await cli.run('fix', 'busy', '--yes');
    expect(refused.stderr).toMatch(/a job is active: copy job on vda/);
    expect(refused.exitCode).toBe(75);
    await busy.virsh('blockjob', busy.uuid, 'vda', '--abort');
    expect((await cli.run('fix', 'busy', '--yes')).exitCode).toBe(0);
    await busy.destroy();
  });

  test('to take back what somebody has changed since', async () => {
    expect((await cli.run('fix', 'refusing', '--yes')).exitCode).toBe(0);
    const file = path.join(cli.stateDirectory, 'edited.xml');
    await writeFile(file, (await configuration(guest)).replace(/<vcpu[^>]*>1</, "<vcpu placement='static'>2<"));
    await guest.virsh('define', file);
    const { exitCode, stderr } = await cli.run('fix', 'refusing', '--revert', '--yes');
    expect(stderr).toMatch(/changed by somebody else in the meantime; nothing was done:\n- .*>1<.*\n\+ .*>2</);
    expect(exitCode).toBe(75);
    expect(await configuration(guest)).toContain('>2<');
  });
});

test('a change that libvirt would not keep to the letter is taken back at once', async () => {
  // A virsh that drops the attribute on its way, as an older libvirt does with one that it does not know.
  const guest = await rig.define({ name: 'dropping', disks: [{ ...disk, discard: null }] });
  const before = await configuration(guest);
  const wrapper = path.join(cli.stateDirectory, 'virsh');
  await writeFile(
    wrapper,
    `#!/bin/sh\nfor a in "$@"; do f=$(printf '%s' "$a" | sed -n 's/^define \\([^ ;]*\\);.*/\\1/p'); [ -n "$f" ] && sed -i 's/ discard="unmap"/ io="threads"/' "$f"; done\nexec virsh "$@"\n`,
    { mode: 0o755 },
  );
  const broken = await Cli.create(rig.uri, { VIRT_TRIM_VIRSH: wrapper });
  const { exitCode, stderr } = await broken.run('fix', 'dropping', '--yes');
  expect(stderr).toMatch(/more or less of it than was announced; the old configuration is back/);
  expect(exitCode).toBe(3);
  expect(canonicalLines(await configuration(guest))).toEqual(canonicalLines(before));
  await broken[Symbol.asyncDispose]();
});
