import { MessageReader } from '../json/reader.ts';
import type { Json } from '../json/value.ts';
import { writeJson } from '../json/write.ts';
import type { Sys } from '../sys.ts';
import { openFlags } from '../sys.ts';
import { readText } from '../text-file.ts';

/** What a restarted agent must know of the freeze that its predecessor left. */
export interface FrozenRecord {
  /** On the boot clock. */
  readonly deadlineMs: number;
  readonly seconds: number;
  /** The watchdog has thawed, and nobody was told yet. */
  readonly expired: boolean;
  readonly filesystems: readonly { readonly filesystem: string; readonly path: string }[];
}

const tmpfsMagic = 0x01021994;
const ramfsMagic = 0x858458f6;

/**
 * The frozen state outlives SIGKILL in a file, but only on tmpfs: it is written in the last moment before a freeze and removed
 * right after the thaw, and a file on a disk would make the agent wait for a frozen filesystem, or outlive a reboot.
 */
export class Marker {
  private readonly sys: Sys;
  /** undefined where no tmpfs was found: then the state does not outlive the agent. */
  readonly path: string | undefined;

  constructor(sys: Sys, stateDirectory: string, channelPath: string) {
    this.sys = sys;
    const ownName = `virt-trim-agent${channelPath.split('/').join('-').slice(-80)}.frozen`;
    if (isMemory(sys, stateDirectory)) this.path = `${stateDirectory}/virt-trim-agent.frozen`;
    else this.path = ['/run', '/var/run', '/dev/shm'].filter((directory) => isMemory(sys, directory)).map((it) => `${it}/${ownName}`)[0];
  }

  write(record: FrozenRecord): number {
    if (this.path === undefined) return 0;
    const temporary = `${this.path}.new`;
    const fd = this.sys.open(temporary, openFlags.writeOnly | openFlags.create | openFlags.truncate);
    if (fd < 0) return fd;
    const text = writeJson({
      deadlineMs: Math.ceil(record.deadlineMs),
      seconds: record.seconds,
      expired: record.expired,
      filesystems: record.filesystems.map((it) => [it.filesystem, it.path]),
    });
    const written = this.sys.write(fd, `${text}\n`);
    this.sys.close(fd);
    return written < 0 ? written : this.sys.rename(temporary, this.path);
  }

  remove(): void {
    if (this.path !== undefined) this.sys.unlink(this.path);
  }

  /** A marker that cannot be understood still says "frozen": everything reachable is thawed when its default deadline comes. */
  read(defaults: { readonly deadlineMs: number; readonly seconds: number }): FrozenRecord | undefined {
    const text = this.path === undefined ? undefined : readText(this.sys, this.path);
    if (text === undefined) return undefined;
    let value: Json = null;
    new MessageReader((message) => {
      if ('value' in message) value = message.value;
    }).feed(text);
    return parseRecord(value) ?? { ...defaults, expired: false, filesystems: [] };
  }
}

function isMemory(sys: Sys, directory: string): boolean {
  const type = sys.filesystemType(directory);
  return type === tmpfsMagic || type === ramfsMagic;
}

function parseRecord(value: Json): FrozenRecord | undefined {
  if (!(value instanceof Map)) return undefined;
  const deadlineMs = value.get('deadlineMs');
  const seconds = value.get('seconds');
  const filesystems = value.get('filesystems');
  if (typeof deadlineMs !== 'number' || typeof seconds !== 'number' || !Array.isArray(filesystems)) return undefined;
  const pairs: { filesystem: string; path: string }[] = [];
  for (const entry of filesystems as readonly Json[]) {
    const [filesystem, path] = Array.isArray(entry) ? (entry as readonly Json[]) : [];
    if (typeof filesystem === 'string' && typeof path === 'string') pairs.push({ filesystem, path });
  }
  return { deadlineMs, seconds, expired: value.get('expired') === true, filesystems: pairs };
}
