import { answer, type AgentScript, type CommandArguments } from './scripted-agent.ts';

/** Merges scripts; a later one's commands replace an earlier one's. */
export function combine(...scripts: readonly AgentScript[]): AgentScript {
  return Object.assign({}, ...scripts) as AgentScript;
}

const version = '7.2.22';

function filesystem(mountpoint: string, name: string, bytes: { used: number; total: number }): object {
  const controller = { domain: 0, bus: 0, slot: 4, function: 0 };
  const disk = [{ 'bus-type': 'virtio', bus: 0, target: 0, unit: 0, 'pci-controller': controller, dev: `/dev/${name}` }];
  return { name, mountpoint, type: 'ext4', 'used-bytes': bytes.used, 'total-bytes': bytes.total, disk };
}

/** Allowed while frozen (qemu-ga 7.2, ga_freeze_whitelist). */
const allowedWhileFrozen = new Set([
  'guest-ping',
  'guest-info',
  'guest-sync',
  'guest-sync-delimited',
  'guest-fsfreeze-status',
  'guest-fsfreeze-thaw',
]);

/** A healthy Linux agent that has one file system on `vda`, in qemu-ga 7.2's words. Each call keeps a frozen flag of its own. */
export function healthyAgent(): AgentScript {
  let frozen = false;
  const mounts = 1;
  const script: Record<string, (args: CommandArguments) => unknown> = {
    'guest-get-osinfo': () => ({
      id: 'scripted',
      name: 'Scripted Linux',
      'pretty-name': 'Scripted Linux 1',
      'version-id': '1',
      machine: 'x86_64',
    }),
    'guest-get-fsinfo': () => [filesystem('/', 'vda', { used: 2 ** 28, total: 2 ** 30 })],
    'guest-fstrim': () => ({ paths: [{ path: '/', trimmed: 4096, minimum: 0 }] }),
    'guest-fsfreeze-status': () => (frozen ? 'frozen' : 'thawed'),
    'guest-fsfreeze-freeze': () => {
      frozen = true;
      return mounts;
    },
    'guest-fsfreeze-freeze-list': ({ mountpoints }) => {
      frozen = true;
      return Array.isArray(mountpoints) && mountpoints.length === 0 ? 0 : mounts;
    },
    'guest-fsfreeze-thaw': () => {
      const count = frozen ? mounts : 0;
      frozen = false;
      return count;
    },
  };
  const refusing = Object.entries(script).map(([name, run]) => [
    name,
    (args: CommandArguments) =>
      frozen && !allowedWhileFrozen.has(name)
        ? answer.error(`Command ${name} has been disabled: the agent is in frozen state`, 'CommandNotFound')
        : run(args),
  ]);
  const names = ['guest-ping', 'guest-info', 'guest-sync', ...Object.keys(script)];
  return {
    ...(Object.fromEntries(refusing) as AgentScript),
    'guest-info': () => ({ version, supported_commands: names.map((name) => ({ name, enabled: true, 'success-response': true })) }),
  };
}

type Command = string;

/** Never answers `command`, nor anything after it. `*` hangs from the first byte on. */
export function hungAgent(command: Command = 'guest-fstrim'): AgentScript {
  return combine(healthyAgent(), { [command]: () => answer.hang() });
}

/** Never answers anything: libvirt's own guest-sync is not answered either. */
export function silentAgent(): AgentScript {
  return { '*': () => answer.hang() };
}

/** Answers `command` correctly, but so late. */
export function slowAgent(ms: number, command: Command = 'guest-fstrim'): AgentScript {
  const healthy = healthyAgent();
  return combine(healthy, { [command]: async (args) => answer.after(ms, await healthy[command]?.(args)) });
}

/** Its port closes while it works on `command`. */
export function dyingAgent(command: Command = 'guest-fstrim', restartAfterMs: number | null = null): AgentScript {
  return combine(healthyAgent(), { [command]: () => answer.die(restartAfterMs) });
}

function rawAgent(bytes: string | Buffer, command: Command): AgentScript {
  return combine(healthyAgent(), { [command]: () => answer.raw(bytes) });
}

/** Bytes that are no JSON at all, terminal escapes among them. */
export function garbageAgent(command: Command = 'guest-fstrim'): AgentScript {
  return rawAgent('\u001B[2J\u0007}{ this is not JSON \u0001\n', command);
}

/** A line that is JSON, but an array instead of a reply. */
export function arrayAgent(command: Command = 'guest-fstrim'): AgentScript {
  return rawAgent('[1, 2, 3]\n', command);
}

/** One reply of so many MiB; libvirt drops the channel on a line of more than 10 MiB. */
export function oversizedAgent(mebibytes = 11, command: Command = 'guest-fstrim'): AgentScript {
  const path = 'x'.repeat(mebibytes * 1024 * 1024);
  return rawAgent(`{"return": {"paths": [{"path": "/${path}", "trimmed": 1, "minimum": 0}]}}\n`, command);
}

/** A path with bytes that are no UTF-8. */
export function invalidUtf8Agent(command: Command = 'guest-fstrim'): AgentScript {
  const parts = ['{"return": {"paths": [{"path": "/', Buffer.from([0xc3, 0x28, 0xfe]), '", "trimmed": 1, "minimum": 0}]}}\n'];
  return rawAgent(Buffer.concat(parts.map((part) => Buffer.from(part as string))), command);
}

/** Arrays in arrays, so deep. */
export function nestedAgent(depth = 2000, command: Command = 'guest-fstrim'): AgentScript {
  return rawAgent(`{"return": ${'['.repeat(depth)}${']'.repeat(depth)}}\n`, command);
}

/** A well-formed reply whose value is of another type than the schema says. */
export function wrongTypeAgent(value: unknown = { paths: 'all of them' }, command: Command = 'guest-fstrim'): AgentScript {
  return combine(healthyAgent(), { [command]: () => value });
}

/** What a hostile guest would like to print: clear the screen, set the title, move up, right-to-left override, a line of its own. */
export const hostilePath = '/\u001B[2J\u001B]0;owned\u0007\u001B[1A\u202Egnp.\u009B31m\r\nvirt-trim: all guests trimmed';

export function escapingAgent(): AgentScript {
  return combine(healthyAgent(), {
    'guest-fstrim': () => ({
      paths: [
        { path: hostilePath, trimmed: 1, minimum: 0 },
        { path: '/x', error: `${hostilePath} failed` },
      ],
    }),
    'guest-get-osinfo': () => ({ id: hostilePath, name: hostilePath, 'pretty-name': hostilePath }),
    'guest-get-fsinfo': () => [filesystem(hostilePath, 'vda', { used: 1, total: 2 })],
  });
}

/** As many file systems as that: libvirt refuses an fsinfo of more than 256, and a table must not. */
export function manyPathsAgent(count = 300): AgentScript {
  const names = Array.from({ length: count }, (_, index) => `/srv/volume-${index + 1}`);
  return combine(healthyAgent(), {
    'guest-fstrim': () => ({ paths: names.map((path) => ({ path, trimmed: 4096, minimum: 0 })) }),
    'guest-get-fsinfo': () => names.map((path) => filesystem(path, 'vda', { used: 1, total: 2 })),
  });
}
