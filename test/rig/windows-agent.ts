import type { AgentScript } from './scripted-agent.ts';
import { answer } from './scripted-agent.ts';

/** Windows holds writes for 10 seconds at most after the freeze (VSS). */
const holdMs = 10_000;

export interface WindowsOptions {
  /** How long defrag takes. */
  readonly trimMs?: number;
  /** How long VSS prepares. */
  readonly freezeMs?: number;
  /** The VSS provider gives up instead. */
  readonly freezeFails?: boolean;
}

/**
 * A double of qemu-ga on Windows Server 2022, not the thing itself: no Windows guest was ever at hand. What it says follows from
 * the source of qemu-ga's Windows commands, so its answers prove what we do with them, and nothing about Windows.
 */
export function windowsDouble(options: WindowsOptions = {}): AgentScript {
  let frozenAt: number | null = null;
  const commands = ['guest-sync', 'guest-ping', 'guest-info', 'guest-get-osinfo', 'guest-get-fsinfo', 'guest-fstrim'].concat(
    ['status', 'freeze', 'freeze-list', 'thaw'].map((verb) => `guest-fsfreeze-${verb}`),
  );
  return {
    'guest-info': () => ({
      version: '107.0.1',
      supported_commands: commands.map((name) => ({ name, enabled: true, 'success-response': true })),
    }),
    'guest-get-osinfo': () => ({
      name: 'Microsoft Windows',
      'kernel-release': '20348',
      version: 'Microsoft Windows Server 2022',
      variant: 'server',
      'pretty-name': 'Windows Server 2022 Standard',
      'version-id': '2022',
      'variant-id': 'server',
      'kernel-version': '10.0',
      machine: 'x86_64',
      id: 'mswindows',
    }),
    'guest-get-fsinfo': () => [
      {
        name: '\\\\?\\Volume{0b33a3f1-0000-0000-0000-501f00000000}\\',
        mountpoint: 'C:\\',
        type: 'NTFS',
        'used-bytes': 12_000_000_000,
        'total-bytes': 40_000_000_000,
        disk: [],
      },
      {
        name: '\\\\?\\Volume{0b33a3f1-0000-0000-0000-100000000000}\\',
        mountpoint: 'System Reserved',
        type: 'NTFS',
        'used-bytes': 30_000_000,
        'total-bytes': 100_000_000,
        disk: [],
      },
    ],
    'guest-fstrim': () =>
      answer.after(options.trimMs ?? 3000, {
        paths: [
          { path: 'D:\\', error: 'The operation requested is not supported by the hardware backing the volume. (0x8900002A)' },
          { path: 'C:\\' },
        ],
      }),
    'guest-fsfreeze-status': () => (frozenAt === null ? 'thawed' : 'frozen'),
    'guest-fsfreeze-freeze': () => {
      if (options.freezeFails === true) {
        return answer.after(
          options.freezeMs ?? 60_000,
          answer.error('timeout when try to receive Frozen event from VSS provider: Windows error 0x80004005: Unspecified error'),
        );
      }
      frozenAt = performance.now() + (options.freezeMs ?? 1000);
      return answer.after(options.freezeMs ?? 1000, 3);
    },
    'guest-fsfreeze-freeze-list': ({ mountpoints }) => {
      const names = Array.isArray(mountpoints) ? mountpoints.map(String) : [];
      const wrong = names.find((name) => !/^C:\\?$/.test(name));
      if (wrong !== undefined) return answer.error(`failed to add ${wrong} to snapshot set: Windows error 0x8004230e: `);
      frozenAt = performance.now() + (options.freezeMs ?? 1000);
      return answer.after(options.freezeMs ?? 1000, names.length === 0 ? 3 : names.length);
    },
    'guest-fsfreeze-thaw': () => {
      const heldMs = frozenAt === null ? 0 : performance.now() - frozenAt;
      const wasFrozen = frozenAt !== null;
      frozenAt = null;
      if (heldMs > holdMs) return answer.error("couldn't hold writes: fsfreeze is limited up to 10 seconds: Windows error 0x80042314: ");
      return wasFrozen ? 3 : 0;
    },
  };
}
