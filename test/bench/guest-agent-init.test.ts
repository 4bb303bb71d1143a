import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Guest } from '../../host/demo/guest.ts';
import { startRig, type Rig } from '../rig/rig.ts';
import { defineInitGuest, type InitSystem } from './init-guest.ts';

/**
 * The agent's service files as their init systems run them, in whole Debian guests: installed as docs/guest-agent.md says, started,
 * asked for their state, killed, stopped while the guest is frozen, and there again after a power cut.
 */
interface Kind {
  readonly init: InitSystem;
  readonly install: string;
  readonly service: (verb: string) => string;
  /** The process that answers. */
  readonly pid: string;
  /** What runs every night, at once: prints what it trimmed. */
  readonly nightly: string;
  /** Whether the init system starts it again by itself. */
  readonly respawns: boolean;
}

const script = (name: string): string => `install -m 755 /mnt/${name} /etc/init.d/virt-trim-agent`;
/** Without its wait of up to three hours, and with its words. */
const now = "sed -e 's/ --splay 3h//' -e 's/ >.dev.null.*//'";
const agentPid = "pgrep -f '^/usr/local/sbin/virt-trim-agent'";
const kinds: readonly Kind[] = [
  {
    init: 'sysvinit',
    install: `${script('virt-trim-agent.init')}; update-rc.d virt-trim-agent defaults`,
    service: (verb) => `/etc/init.d/virt-trim-agent ${verb}`,
    nightly: `mount /dev/vdb /mnt; export $(grep ^PATH= /mnt/virt-trim-once.cron); sed -n 's/^0 1 .* root //p' /mnt/virt-trim-once.cron | ${now} | sh; umount /mnt`,
    pid: agentPid,
    respawns: false,
  },
  {
    init: 'openrc',
    install: `${script('virt-trim-agent.openrc')}; rc-update add virt-trim-agent default`,
    service: (verb) => `rc-service virt-trim-agent ${verb}`,
    nightly: `mount /dev/vdb /mnt; ${now} /mnt/virt-trim-once.periodic | sh; umount /mnt`,
    pid: agentPid,
    respawns: true,
  },
  {
    init: 'systemd',
    // Debian's own agent sits on the port in this guest.
    install:
      'systemctl mask --now qemu-guest-agent; install -m 644 /mnt/virt-trim-*.service /mnt/virt-trim-*.timer /etc/systemd/system/; ' +
      'install -m 644 /mnt/99-virt-trim-agent.rules /etc/udev/rules.d/; systemctl daemon-reload; udevadm control --reload',
    service: (verb) => `systemctl ${verb} virt-trim-agent`,
    nightly:
      `${now} -i /etc/systemd/system/virt-trim-once.service; systemctl daemon-reload; systemctl enable --now virt-trim-once.timer; ` +
      'systemctl start virt-trim-once.service; journalctl -u virt-trim-once -o cat --no-pager',
    pid: agentPid,
    respawns: true,
  },
];

const bootMs = 600_000;

describe.each(kinds)('$init', ({ init, install, service, nightly, pid, respawns }) => {
  let rig: Rig;
  let guest: Guest;
  beforeAll(async () => {
    rig = await startRig();
    guest = await defineInitGuest(rig, init);
    await guest.start();
    await guest.waitForBoot(bootMs);
  });
  afterAll(() => rig?.dispose());

  const findPid = async (): Promise<string> => (await guest.run(pid, bootMs)).output.trim();

  /** One freeze, one thaw and a trim through libvirt: it is our agent that answers. */
  async function expectAnswers(): Promise<void> {
    await guest.waitForAgent(bootMs);
    const { supported_commands: commands } = (await guest.agent('guest-info', undefined, 60)) as { supported_commands: { name: string }[] };
    expect(commands.map((it) => it.name)).toContain('virt-trim-set-watchdog');
    expect(await guest.agent('guest-fsfreeze-freeze', undefined, 60)).toBe(1);
    expect(await guest.agent('guest-fsfreeze-thaw', undefined, 60)).toBe(1);
    const { paths } = (await guest.agent('guest-fstrim', undefined, 300)) as { paths: { path: string; error?: string }[] };
    expect(paths).toEqual([expect.objectContaining({ path: '/', trimmed: expect.any(Number) as number })]);
  }

  test('installed as documented, it starts, answers and tells its state', async () => {
    await guest.runChecked(
      `set -e; mount /dev/vdb /mnt; install -m 755 /mnt/virt-trim-agent /usr/local/sbin/virt-trim-agent; ${install}; umount /mnt`,
      bootMs,
    );
    expect((await guest.run(service('status'), bootMs)).status).toBe(3);
    // udev starts it with the channel, where there is udev's rule for it.
    await guest.runChecked(
      init === 'systemd' ? 'udevadm trigger --subsystem-match=virtio-ports; udevadm settle' : service('start'),
      bootMs,
    );
    await expectAnswers();
    expect((await guest.run(service('status'), bootMs)).status).toBe(0);
    if (init === 'systemd')
      expect(await guest.runChecked('systemd-analyze verify --man=no virt-trim-agent.service virt-trim-once.timer 2>&1', bootMs)).toBe('');
  });

  test(`killed while frozen, it ${respawns ? 'is started again by its supervisor' : 'is started by hand'} and still knows`, async () => {
    const before = await findPid();
    expect(before).toMatch(/^\d+$/);
    expect(await guest.agent('guest-fsfreeze-freeze', undefined, 60)).toBe(1);
    await guest.runChecked(`kill -9 ${before}; while kill -0 ${before} 2>/dev/null; do sleep 0.1; done`, 60_000);
    if (!respawns) await guest.runChecked(service('start'), 60_000);
    await guest.waitForAgent(bootMs);
    expect(await guest.agent('guest-fsfreeze-status', undefined, 60)).toBe('frozen');
    expect(await guest.agent('guest-fsfreeze-thaw', undefined, 60)).toBe(1);
    expect(await findPid()).not.toBe(before);
  });

  test('stopped while the guest is frozen, it thaws by its watchdog first; restart gives another process', async () => {
    await guest.agent('virt-trim-set-watchdog', { seconds: 8 }, 60);
    await guest.runChecked(`${service('status')} >/dev/null; sync`, bootMs); // in memory: nothing can be read that touches the disk
    expect(await guest.agent('guest-fsfreeze-freeze', undefined, 60)).toBe(1);
    const from = performance.now();
    expect((await guest.run(service('stop'), bootMs)).status).toBe(0);
    expect(performance.now() - from).toBeGreaterThan(4000);
    expect(await findPid()).toBe('');
    await guest.runChecked('touch /probe; sync; rm /probe', bootMs);
    expect((await guest.run(service('status'), bootMs)).status).toBe(3);
    await guest.runChecked(service('start'), bootMs);
    const first = await findPid();
    await guest.runChecked(service('restart'), bootMs);
    expect(await findPid()).not.toBe(first);
    await expectAnswers();
  });

  test('what runs every night trims', async () => {
    expect(await guest.runChecked(nightly, bootMs)).toMatch(/^\/: \d+ bytes trimmed$/m);
  });

  test('after a power cut it is there by itself', async () => {
    await guest.runChecked('sync', 60_000);
    await guest.destroy();
    await guest.start();
    await guest.waitForBoot(bootMs);
    await expectAnswers();
  });
});
