import type { Capacity, FileStatus, InterfaceAddress, Sys, TrimRange, UnixName, WorkKind, WorkResult } from '../../../guest/sys.ts';

const ENOENT = 2;
const EBADF = 9;
const EAGAIN = 11;
const EBUSY = 16;
const EINVAL = 22;
const EOPNOTSUPP = 95;

/** A filesystem of the pretended guest. */
export interface FakeFilesystem {
  /** `major:minor` as stat and mountinfo have it. */
  readonly device: string;
  frozen: number;
  /** What FIFREEZE, FITHAW and FITRIM fail with instead of working. */
  freezeError?: number;
  thawError?: number;
  trimError?: number;
  /** Bytes each FITRIM says it discarded. */
  trimmed?: number;
}

/**
 * A machine in memory. It imports nothing, so that the fuzzer can run it on the guest's engine too. Blocking work is done when
 * `finishWork` is called, unless `holdWork` keeps it, as a disk that hangs would.
 */
export class FakeSys implements Sys {
  args: string[] = [];
  readonly environment = new Map<string, string>();
  readonly files = new Map<string, string>();
  readonly links = new Map<string, string>();
  readonly directories = new Map<string, string[]>();
  readonly statuses = new Map<string, FileStatus>();
  readonly capacities = new Map<string, Capacity>();
  readonly filesystemTypes = new Map<string, number>();
  readonly filesystems = new Map<string, FakeFilesystem>();
  /** Which filesystem a path leads to: the last mount over it. */
  readonly mounted = new Map<string, string>();
  readonly loops = new Map<string, string>();
  readonly logged: string[] = [];
  /** Every FIFREEZE, FITHAW and FITRIM in its order. */
  readonly done: string[] = [];
  addresses: InterfaceAddress[] | number = [];
  nowMs = 1000;
  now = 1_700_000_000_123_456;
  name: UnixName = { node: 'guest', release: '6.1.0', version: '#1 SMP', machine: 'x86_64' };
  zone: { name: string | undefined; offsetSeconds: number } = { name: 'UTC', offsetSeconds: 0 };
  written = '';
  holdWork = false;

  private readonly opened = new Map<number, string>();
  private readonly offsets = new Map<number, number>();
  private nextFd = 10;
  private work: { kind: WorkKind; fd: number; range: TrimRange | undefined } | undefined;

  /** Descriptors that are open now. */
  get openCount(): number {
    return this.opened.size;
  }

  get workSubmitted(): boolean {
    return this.work !== undefined;
  }

  env(name: string): string | undefined {
    return this.environment.get(name);
  }

  open(path: string, flags: number): number {
    const exists = this.files.has(path) || this.mounted.has(path);
    if (!exists && (flags & 4) === 0) return -ENOENT;
    if (!exists || (flags & 8) !== 0) this.files.set(path, '');
    const fd = this.nextFd++;
    this.opened.set(fd, this.mounted.get(path) ?? path);
    this.offsets.set(fd, 0);
    return fd;
  }

  close(fd: number): number {
    this.offsets.delete(fd);
    return this.opened.delete(fd) ? 0 : -EBADF;
  }

  read(fd: number, maxBytes: number): string | number {
    const text = this.files.get(this.opened.get(fd) ?? '');
    if (text === undefined) return -EAGAIN;
    const from = this.offsets.get(fd) ?? 0;
    const part = text.slice(from, from + maxBytes);
    this.offsets.set(fd, from + part.length);
    return part;
  }

  readWasPlain(): boolean {
    return false;
  }

  write(fd: number, bytes: string): number {
    const path = this.opened.get(fd);
    if (path === undefined) this.written += bytes;
    else this.files.set(path, (this.files.get(path) ?? '') + bytes);
    return bytes.length;
  }

  rename(from: string, to: string): number {
    const text = this.files.get(from);
    if (text === undefined) return -ENOENT;
    this.files.delete(from);
    this.files.set(to, text);
    return 0;
  }

  unlink(path: string): number {
    return this.files.delete(path) ? 0 : -ENOENT;
  }

  lock(): number {
    return 0;
  }

  readLink(path: string): string | number {
    return this.links.get(path) ?? -EINVAL;
  }

  realPath(path: string): string | number {
    return this.links.get(path) ?? (this.directories.has(path) ? path : -ENOENT);
  }

  readDirectory(path: string): string[] | number {
    return this.directories.get(path) ?? -ENOENT;
  }

  stat(path: string): FileStatus | number {
    return this.statuses.get(path) ?? -ENOENT;
  }

  statFd(fd: number): FileStatus | number {
    const opened = this.opened.get(fd);
    return opened === undefined ? -EBADF : { mode: 0o040755, device: opened, special: '0:0' };
  }

  capacity(path: string): Capacity | number {
    return this.capacities.get(path) ?? -ENOENT;
  }

  filesystemType(path: string): number {
    return this.filesystemTypes.get(path) ?? -ENOENT;
  }

  poll(): number {
    return 0;
  }

  takeSignals(): number {
    return 0;
  }

  listenUnix(): number {
    return 3;
  }

  accept(): number {
    return 4;
  }

  makeRaw(): number {
    return 0;
  }

  setAsync(): number {
    return 0;
  }

  startWorker(): number {
    return 5;
  }

  submitWork(kind: WorkKind, fd: number, range?: TrimRange): void {
    this.work = { kind, fd, range };
  }

  finishWork(): WorkResult {
    const { work } = this;
    this.work = undefined;
    const filesystem = this.filesystems.get(this.opened.get(work?.fd ?? -1) ?? '');
    if (work === undefined || filesystem === undefined) return { status: -EBADF, trimmed: 0, minimum: '0' };
    return work.kind === 'freeze' ? this.freeze(filesystem) : this.trim(filesystem, work.range);
  }

  thaw(fd: number): number {
    const filesystem = this.filesystems.get(this.opened.get(fd) ?? '');
    if (filesystem === undefined) return -EOPNOTSUPP;
    if (filesystem.thawError !== undefined) return -filesystem.thawError;
    if (filesystem.frozen === 0) return -EINVAL;
    filesystem.frozen--;
    this.done.push(`thaw ${filesystem.device}`);
    return 0;
  }

  loopBacking(devicePath: string): string | number {
    return this.loops.get(devicePath) ?? -ENOENT;
  }

  bootMs(): number {
    return this.nowMs;
  }

  realMicros(): number {
    return this.now;
  }

  unixName(): UnixName {
    return this.name;
  }

  timeZone(): { readonly name: string | undefined; readonly offsetSeconds: number } {
    return this.zone;
  }

  interfaces(): InterfaceAddress[] | number {
    return this.addresses;
  }

  processId(): number {
    return 42;
  }

  sleepMs(ms: number): void {
    this.nowMs += ms;
  }

  lockMemory(): number {
    return 0;
  }

  dropPrivileges(): number {
    return 0;
  }

  daemonize(): number {
    return 0;
  }

  log(priority: number, text: string): void {
    this.logged.push(`${priority} ${text}`);
  }

  exit(status: number): never {
    throw new Error(`exit ${status}`);
  }

  private freeze(filesystem: FakeFilesystem): WorkResult {
    const status = filesystem.freezeError ?? (filesystem.frozen > 0 ? EBUSY : 0);
    if (status === 0) {
      filesystem.frozen = 1;
      this.done.push(`freeze ${filesystem.device}`);
    }
    return { status: -status, trimmed: 0, minimum: '0' };
  }

  private trim(filesystem: FakeFilesystem, range: TrimRange | undefined): WorkResult {
    this.done.push(`trim ${filesystem.device} ${range?.start ?? 0}+${range?.length ?? 'end'}`);
    const minimum = range?.minimum ?? '0';
    return { status: -(filesystem.trimError ?? 0), trimmed: filesystem.trimmed ?? 0, minimum };
  }
}

/** A guest with one ext4 root, an XFS and a vfat, on two virtio disks. */
export function makeGuest(): FakeSys {
  const sys = new FakeSys();
  sys.files.set(
    '/proc/self/mountinfo',
    [
      '20 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw',
      '21 20 0:5 / /proc rw - proc proc rw',
      '22 20 0:19 / /run rw shared:5 - tmpfs tmpfs rw',
      '23 20 254:16 / /srv\\040data rw - xfs /dev/vdb rw',
      '24 20 254:2 / /boot/efi rw - vfat /dev/vda2 rw',
      '',
    ].join('\n'),
  );
  for (const [path, device] of [
    ['/', '254:1'],
    ['/srv data', '254:16'],
    ['/boot/efi', '254:2'],
  ] as const) {
    sys.mounted.set(path, device);
    sys.filesystems.set(device, { device, frozen: 0, trimmed: 4096 });
    sys.capacities.set(path, { fragmentBytes: 4096, blocks: 1000, freeBlocks: 400, availableBlocks: 350 });
  }
  const efi = sys.filesystems.get('254:2');
  if (efi !== undefined) efi.freezeError = EOPNOTSUPP;
  addDisk(sys, { name: 'vda', number: '254:0', slot: 4 });
  addDisk(sys, { name: 'vdb', number: '254:16', slot: 5 });
  for (const [name, number] of [
    ['vda1', '254:1'],
    ['vda2', '254:2'],
  ] as const) {
    const path = `/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/${name}`;
    sys.links.set(`/sys/dev/block/${number}`, path);
    sys.directories.get('/sys/block/vda')?.push(`d${name}`);
    for (const directory of [path, `/sys/block/vda/${name}`]) sys.files.set(`${directory}/uevent`, `MAJOR=254\nDEVNAME=${name}\n`);
    sys.files.set(`${path}/dev`, `${number}\n`);
  }
  sys.files.set('/run/udev/data/b254:16', 'S:disk/by-id/x\nE:ID_SERIAL=SN-1\n');
  sys.files.set('/etc/os-release', 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n');
  sys.files.set('/proc/loadavg', '0.50 1.25 2.00 1/99 1234\n');
  sys.files.set('/proc/net/dev', 'head\nhead\n  eth0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n');
  sys.addresses = [
    { name: 'eth0', hardwareAddress: '52:54:00:00:00:01' },
    { name: 'eth0', hardwareAddress: '52:54:00:00:00:01', family: 'ipv4', address: '192.0.2.1', prefix: 24 },
  ];
  sys.filesystemTypes.set('/run', 0x01021994);
  return sys;
}

function addDisk(sys: FakeSys, disk: { readonly name: string; readonly number: string; readonly slot: number }): void {
  const pci = `/sys/devices/pci0000:00/0000:00:0${disk.slot}.0`;
  const path = `${pci}/virtio${disk.slot - 3}/block/${disk.name}`;
  sys.links.set(`/sys/dev/block/${disk.number}`, path);
  sys.links.set(`/sys/block/${disk.name}`, path);
  sys.links.set(`${pci}/driver`, '../../../bus/pci/drivers/virtio-pci');
  sys.directories.set('/sys/block', [...(sys.directories.get('/sys/block') ?? []), `l${disk.name}`]);
  sys.directories.set(`/sys/block/${disk.name}`, ['dslaves', '-size']);
  for (const directory of [path, `/sys/block/${disk.name}`]) {
    sys.directories.set(`${directory}/slaves`, []);
    sys.files.set(`${directory}/uevent`, `MAJOR=254\nDEVNAME=${disk.name}\n`);
    sys.files.set(`${directory}/dev`, `${disk.number}\n`);
    sys.files.set(`${directory}/size`, '4194304\n');
  }
}
