/**
 * Answers of the guest agent as QEMU's schema (qga/qapi-schema.json) defines them, for the commands both sides use. Integers are
 * int64 on the wire; those that may pass 2^53 are `number | bigint`.
 */
export type Int64 = number | bigint;

export interface GuestCommandInfo {
  readonly name: string;
  readonly enabled: boolean;
  readonly 'success-response': boolean;
}

export interface GuestInfo {
  readonly version: string;
  readonly supported_commands: readonly GuestCommandInfo[];
}

export type GuestFreezeStatus = 'thawed' | 'frozen';

export interface GuestPciAddress {
  readonly domain: number;
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

export interface GuestCcwAddress {
  readonly cssid: number;
  readonly ssid: number;
  readonly subchno: number;
  readonly devno: number;
}

export interface GuestDiskAddress {
  readonly 'pci-controller': GuestPciAddress;
  readonly 'bus-type': string;
  readonly bus: number;
  readonly target: number;
  readonly unit: number;
  readonly serial?: string;
  readonly dev?: string;
  readonly 'ccw-address'?: GuestCcwAddress;
}

export interface GuestFilesystem {
  readonly name: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly 'used-bytes'?: Int64;
  readonly 'total-bytes'?: Int64;
  readonly disk: readonly GuestDiskAddress[];
}

export interface GuestDisk {
  readonly name: string;
  readonly partition: boolean;
  readonly dependencies?: readonly string[];
  readonly address?: GuestDiskAddress;
  readonly alias?: string;
}

export interface GuestOsInfo {
  readonly 'kernel-release'?: string;
  readonly 'kernel-version'?: string;
  readonly machine?: string;
  readonly id?: string;
  readonly name?: string;
  readonly 'pretty-name'?: string;
  readonly version?: string;
  readonly 'version-id'?: string;
  readonly variant?: string;
  readonly 'variant-id'?: string;
}

export interface GuestIpAddress {
  readonly 'ip-address': string;
  readonly 'ip-address-type': 'ipv4' | 'ipv6';
  readonly prefix: number;
}

export interface GuestInterfaceStatistics {
  readonly 'rx-bytes': Int64;
  readonly 'rx-packets': Int64;
  readonly 'rx-errs': Int64;
  readonly 'rx-dropped': Int64;
  readonly 'tx-bytes': Int64;
  readonly 'tx-packets': Int64;
  readonly 'tx-errs': Int64;
  readonly 'tx-dropped': Int64;
}

/** The error classes that reach a client. */
export type QgaErrorClass = 'GenericError' | 'CommandNotFound';
