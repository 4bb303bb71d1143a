import type { ProbeResult } from '../agent/probe.ts';
import type { DomainDescription } from '../libvirt/domain-xml.ts';
import type { Domain } from '../libvirt/domains.ts';
import type { ImageFacts, UnreadableImage } from '../sizes/image.ts';
import type { Judgement, Layer } from './finding.ts';
import type { XmlDisk } from './subject.ts';
import type { Version } from './version.ts';

/** Where an image lies on the host. */
export interface FilesystemFacts {
  readonly kind: 'filesystem';
  readonly type: string;
  readonly mountpoint: string;
  readonly source: string;
  /** Mount and super-block options together: NFS's version stands among them. */
  readonly options: readonly string[];
  readonly totalBytes: number | null;
  readonly freeBytes: number | null;
}

/** A block device, from sysfs alone. */
export interface BlockFacts {
  readonly kind: 'block';
  /** `dm-3`, `sda`, `zd16`, `loop0`. */
  readonly name: string;
  /** 0: the device takes no discards. */
  readonly discardMaxBytes: number | null;
  readonly discardGranularityBytes: number | null;
  readonly layer:
    | 'lvm-thin'
    | 'lvm-thick'
    | 'lvm-snapshot'
    | 'crypt'
    | 'multipath'
    | 'device-mapper'
    | 'zvol'
    | 'loop'
    | 'rbd'
    | 'nbd'
    | 'disk';
  /** For a zvol: what `zfs get` says; null where that could not be asked. */
  readonly zvol: { readonly dataset: string; readonly refreservationBytes: number | null; readonly snapshotBytes: number | null } | null;
}

/** What a scratch file beside the image showed, in bytes of `st_blocks`. */
export interface HoleProbe {
  readonly writtenBytes: number;
  readonly afterPunchBytes: number | null;
  /** Why punching failed. */
  readonly error: string | null;
}

export interface SharedBlocks {
  /** FIEMAP says that other files or snapshots hold some of these blocks; null where it cannot be told. */
  readonly shared: boolean | null;
  readonly how: string;
}

export interface DiskFacts extends XmlDisk {
  /** null: no file or device of this host (network disk, remote connection). */
  readonly image: ImageFacts | UnreadableImage | null;
  readonly storage: FilesystemFacts | BlockFacts | null;
  readonly hole: HoleProbe | null;
  readonly shared: SharedBlocks | null;
  readonly domainFacts: DomainFacts;
}

/** What the running QEMU was started with, read from its own command line. */
export interface RunningQemu {
  readonly pid: number;
  readonly machine: string | null;
  readonly executable: string | null;
  /** The binary was replaced since: the version installed is not the one that runs. */
  readonly replaced: boolean;
  /** By device alias: the `discard` of the node that it drives; null where that names none. */
  readonly discard: ReadonlyMap<string, string | null>;
}

export interface HostFacts {
  readonly isLocal: boolean;
  readonly libvirt: Version | null;
  readonly qemu: Version | null;
  /** By architecture. */
  readonly machineTypes: ReadonlyMap<string, readonly string[]>;
  readonly daemon: 'monolithic' | 'modular' | 'unknown';
}

export interface DomainFacts {
  /** Live where it runs. */
  readonly domain: Domain;
  /** What the next start will use; null where that is what is above (off), or nothing (transient). */
  readonly next: DomainDescription | null;
  readonly running: RunningQemu | null;
  /** null: not asked (off, no channel, not connected, --no-agent). */
  readonly agent: ProbeResult | null;
  readonly agentAsked: boolean;
  readonly host: HostFacts;
}

/** Rules that need more than the XML. Pure, like those. */
export interface DiskRule {
  readonly id: string;
  readonly layer: Layer;
  readonly judge: (facts: DiskFacts) => Judgement | null;
}

export interface DomainRule {
  readonly id: string;
  readonly layer: Layer;
  readonly judge: (facts: DomainFacts) => Judgement | null;
}

export interface HostRule {
  readonly id: string;
  readonly layer: 'host';
  readonly judge: (facts: HostFacts) => Judgement | null;
}
