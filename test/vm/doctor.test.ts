import { mkdir, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { doctorResult, type DoctorResult } from '../../host/doctor/schema.ts';
import { Cli } from '../rig/cli.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { broken, defaultDisk, healthy, type DoctorCase } from './doctor-cases.ts';

// Every guest here is real: booted, examined by doctor, dirtied and trimmed, and what the host got back is
// measured from outside, by st_blocks. VIRT_TRIM_DOCTOR_TABLE=FILE writes the table for docs/doctor.md.

const mebibyte = 1024 ** 2;
const deletedMiB = 48;
const cases = [...broken, ...healthy];

interface Outcome {
  readonly guest: Guest;
  result: DoctorResult | null;
  /** Part of the deleted bytes that the host got back. */
  back: number | null;
  /** Why it could not be tried out: its own tests fail with it, not the others'. */
  error: unknown;
}

let rig: Rig;
let cli: Cli;
const outcomes = new Map<string, Outcome>();

function outcomeOf(name: string): Outcome {
  const outcome = outcomes.get(name);
  if (outcome === undefined) throw new Error(`no outcome for ${name}`);
  return outcome;
}

async function allocated(guest: Guest): Promise<number> {
  const { file } = guest.disks[0] ?? {};
  if (file === undefined || file === null) throw new Error('no image');
  return (await stat(file)).blocks * 512;
}

async function prepare(one: DoctorCase): Promise<void> {
  const guest = await rig.define({ ...one.spec, name: one.name, memoryMiB: 112, disks: [one.disk ?? defaultDisk] });
  await one.break?.(guest);
  outcomes.set(one.name, { guest, result: null, back: null, error: null });
}

async function dirty({ guest }: Outcome): Promise<void> {
  const directory = guest.disks[0]?.mountpoint ?? '/mnt/vda';
  // Random bytes made once and written again and again: emulated processors are slow at making them.
  await guest.runChecked(
    `dd if=/dev/urandom of=/run/seed bs=1M count=4 2>/dev/null; i=0; while [ $i -lt ${deletedMiB / 4} ]; do cat /run/seed; i=$((i+1)); done > ${directory}/junk && sync && rm ${directory}/junk && sync`,
    120_000,
  );
}

async function examine(outcome: Outcome): Promise<void> {
  const { envelope } = await cli.json('doctor', outcome.guest.uuid);
  outcome.result = doctorResult.parse(envelope.domains[0]);
}

/** One guest from boot to power off. Only three run at a time: idle ones cost emulated processors too. */
async function tryOut(one: DoctorCase): Promise<void> {
  const outcome = outcomeOf(one.name);
  if (one.off === true) return examine(outcome);
  await outcome.guest.boot(120_000);
  await examine(outcome);
  if (one.trim !== null) {
    await dirty(outcome);
    const before = await allocated(outcome.guest);
    await cli.json('trim', '--force', outcome.guest.uuid);
    outcome.back = (before - (await allocated(outcome.guest))) / (deletedMiB * mebibyte);
  }
  await outcome.guest.destroy();
}

async function attempt(one: DoctorCase, outcome: Outcome): Promise<void> {
  outcome.error = null;
  try {
    await tryOut(one);
  } catch (error) {
    outcome.error = error;
    await outcome.guest.destroy().catch(() => undefined); // it may never have started
  }
}

beforeAll(async () => {
  rig = await startRig();
  cli = await Cli.create(rig.uri);
  for (const one of cases) await prepare(one);
  const waiting = [...cases];
  const worker = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      const outcome = outcomeOf(one.name);
      await attempt(one, outcome);
      // Like every vm test, a guest may try twice: a boot can miss its time on a busy machine.
      if (outcome.error !== null) await attempt(one, outcome);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
}, 1_500_000);

afterAll(async () => {
  const file = process.env['VIRT_TRIM_DOCTOR_TABLE'];
  if (file !== undefined) await writeFile(file, table());
  await rig?.dispose();
  await cli?.[Symbol.asyncDispose]();
});

function table(): string {
  const rows = cases.map((one) => {
    const { result, back } = outcomeOf(one.name);
    const said = result?.findings.find((finding) => finding.rule === one.rule)?.message ?? '';
    const share = back === null ? '(not trimmed)' : `${(back * 100).toFixed(1)} %`;
    return `| ${one.what} | ${result?.verdict ?? '?'} | ${one.rule ?? ''} | ${share} | ${said.split(/[:;]/)[0] ?? ''} |`;
  });
  return [
    '| guest | verdict | rule | of the deleted bytes the host got back | what doctor says |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

test('at least twenty guests are broken in one way each, and five in none', () => {
  expect(broken.length).toBeGreaterThanOrEqual(20);
  expect(healthy.length).toBe(5);
  expect(new Set(cases.map((one) => one.name)).size).toBe(cases.length);
});

describe('a broken guest', () => {
  test.each(broken.map((one) => [one.what, one] as const))('%s', (_what, { name, verdict, rule }) => {
    const { result, error } = outcomeOf(name);
    expect(error).toBe(null);
    const decisive = result?.findings.filter((finding) => finding.verdict === verdict) ?? [];
    expect(decisive.map((finding) => finding.rule)).toContain(rule);
    expect(result?.verdict).toBe(verdict);
    expect(decisive.every((finding) => finding.evidence !== '' && finding.message !== '')).toBe(true);
  });
});

describe('a healthy guest', () => {
  test.each(healthy.map((one) => [one.what, one] as const))('%s', (_what, { name }) => {
    const { result, error } = outcomeOf(name);
    expect(error).toBe(null);
    expect(result?.findings.filter((finding) => finding.verdict === 'blocks' || finding.verdict === 'warning')).toEqual([]);
    expect(result?.verdict).toBe('ok');
  });
});

describe('a real trim agrees', () => {
  const measured = cases.filter((one) => one.trim === 'none' || one.trim === 'all');
  test.each(measured.map((one) => [one.what, one] as const))('%s', (_what, { name, trim }) => {
    const { back, error } = outcomeOf(name);
    expect(error).toBe(null);
    if (trim === 'none') {
      expect(back).toBeLessThan(0.01);
      expect(back).toBeGreaterThan(-0.1); // a journal that moves on can take a cluster or two more, above all below dm-crypt
    } else expect(back).toBeGreaterThan(0.95);
  });

  test('every blocks was trimmed or could not be, and every ok was trimmed', () => {
    for (const one of cases) {
      if (one.verdict === 'ok') expect(one.trim).toBe('all');
      if (one.verdict === 'blocks') expect(['none', null]).toContain(one.trim);
    }
  });
});

test('the storage probe tries a scratch file beside the images and leaves nothing behind', async () => {
  const { guest } = outcomeOf('healthy-q35');
  const { envelope } = await cli.json('doctor', '--probe', '--no-agent', guest.uuid);
  const [result] = envelope.domains.map((domain) => doctorResult.parse(domain));
  const finding = result?.findings.find((one) => one.rule === 'host-filesystem');
  expect(finding).toMatchObject({ verdict: 'ok' });
  expect(finding?.evidence).toMatch(/scratch file beside the image: 1 MiB written, 0 B left after punching/);
  const directory = (guest.disks[0]?.file ?? '').replace(/\/[^/]*$/, '');
  await mkdir(directory, { recursive: true });
  const { readdir } = await import('node:fs/promises');
  expect((await readdir(directory)).filter((name) => name.startsWith('.virt-trim'))).toEqual([]);
});
