/**
 * What the core needs from its machine: the whole surface between TypeScript and `native/*.c`. Strings are byte strings. Whatever
 * can fail returns a negative errno instead of throwing. Tests give an implementation of their own.
 */
export type Errno = number;

export interface FileStatus {
  /** `st_mode`. */
  readonly mode: number;
  /** Device the file lies on, `major:minor`. */
  readonly device: string;
  /** For a device node: what it is, `major:minor`. */
  readonly special: string;
}

export interface Capacity {
  readonly fragmentBytes: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly availableBlocks: number;
}

export interface UnixName {
  readonly node: string;
  readonly release: string;
  readonly version: string;
  readonly machine: string;
}

export interface InterfaceAddress {
  readonly name: string;
  /** `aa:bb:…`; absent where the kernel has none to tell. */
  readonly hardwareAddress?: string;
  readonly family?: 'ipv4' | 'ipv6';
  readonly address?: string;
  readonly prefix?: number;
}

/** Blocking work that the native thread does one at a time, so that ping and status are answered meanwhile. */
export type WorkKind = 'freeze' | 'trim';

export interface WorkResult {
  /** 0 or a negative errno. */
  readonly status: number;
  /** trim: bytes the filesystem says it discarded. */
  readonly trimmed: number;
  /** trim: the smallest extent it really used, in digits. */
  readonly minimum: string;
}

export interface TrimRange {
  readonly start: number;
  /** Bytes; left out: to the end. */
  readonly length?: number;
  /** In digits. The kernel's is unsigned; a negative one wraps, as qemu-ga lets it. */
  readonly minimum: string;
}

export const openFlags = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 4,
  truncate: 8,
  append: 16,
  nonBlocking: 32,
  noTty: 64,
} as const;
export const pollFlags = { in: 1, out: 4, error: 8, hangUp: 16 } as const;
export const signalFlags = { terminate: 1, io: 2 } as const;
export const logPriorities = { error: 3, warning: 4, notice: 5, info: 6, debug: 7 } as const;
export type LogPriority = keyof typeof logPriorities;

export interface Sys {
  /** The command line without the program's name. */
  readonly args: readonly string[];
  env(name: string): string | undefined;

  open(path: string, flags: number): number;
  close(fd: number): number;
  /** '' at the end of the file. */
  read(fd: number, maxBytes: number): string | Errno;
  /** Whether the last read brought nothing but printable ASCII and newlines. */
  readWasPlain(): boolean;
  write(fd: number, bytes: string): number;
  rename(from: string, to: string): number;
  unlink(path: string): number;
  /** Advisory exclusive lock on the whole file; fails when another process has it. */
  lock(fd: number): number;
  readLink(path: string): string | Errno;
  realPath(path: string): string | Errno;
  /** Entries in the directory's own order without `.` and `..`, each its name after one letter: `d`irectory, `l`ink, `-` anything else. */
  readDirectory(path: string): string[] | Errno;
  stat(path: string): FileStatus | Errno;
  statFd(fd: number): FileStatus | Errno;
  capacity(path: string): Capacity | Errno;
  /** `f_type` of statfs(2). */
  filesystemType(path: string): number;

  /** Fills `events` with what happened. Returns how many descriptors are ready; 0 on a timeout or a signal. -1 ms waits for ever. */
  poll(fds: readonly number[], wanted: readonly number[], events: number[], timeoutMs: number): number;
  /** Signals that came since the last call ({@link signalFlags}). */
  takeSignals(): number;
  listenUnix(path: string): number;
  accept(fd: number): number;
  makeRaw(fd: number): number;
  /** SIGIO on, for a port whose host may come back; off while it is polled. */
  setAsync(fd: number, on: boolean): number;

  /** Starts the thread that does the blocking work; returns the descriptor that becomes readable when a piece of it is done. */
  startWorker(): number;
  submitWork(kind: WorkKind, fd: number, range?: TrimRange): void;
  finishWork(): WorkResult;
  /** FITHAW once. */
  thaw(fd: number): number;
  /** `major:minor` of the filesystem that holds a loop device's file (LOOP_GET_STATUS64). */
  loopBacking(devicePath: string): string | Errno;

  /** Milliseconds on a clock that runs from boot (CLOCK_BOOTTIME). */
  bootMs(): number;
  /** Microseconds since 1970. */
  realMicros(): number;
  unixName(): UnixName;
  timeZone(): { readonly name: string | undefined; readonly offsetSeconds: number };
  interfaces(): InterfaceAddress[] | Errno;
  processId(): number;
  /** Waits with nothing else to do, for `--once`. */
  sleepMs(ms: number): void;

  lockMemory(): number;
  dropPrivileges(): number;
  daemonize(): number;
  /** syslog(3), facility daemon. */
  log(priority: number, text: string): void;
  exit(status: number): never;
}
