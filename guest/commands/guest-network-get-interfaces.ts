import type { GuestInterfaceStatistics, GuestIpAddress } from '../../shared/qga/types.ts';
import type { Command } from '../command.ts';
import { errorWords } from '../errno.ts';
import { decodeInteger } from '../json/number.ts';
import type { Json } from '../json/value.ts';
import { QgaError } from '../qga-error.ts';
import { readText } from '../text-file.ts';

/** Counters of 64 bits. */
type Statistics = Record<keyof GuestInterfaceStatistics, Json>;

/** GuestNetworkInterface of QEMU's schema. */
interface Building {
  name: string;
  'ip-addresses'?: GuestIpAddress[];
  statistics?: Statistics;
  'hardware-address'?: string;
}

/** Interfaces in the kernel's order; as in qemu-ga only those with an address have a list of them, and statistics. */
export const guestNetworkGetInterfaces: Command = {
  name: 'guest-network-get-interfaces',
  run: (context): Building[] => {
    const addresses = context.sys.interfaces();
    if (typeof addresses === 'number') throw new QgaError(`getifaddrs failed: ${errorWords(addresses)}`);
    const table = readText(context.sys, '/proc/net/dev') ?? '';
    const found: Building[] = [];
    for (const entry of addresses) {
      let building = found.find((it) => it.name === entry.name);
      if (building === undefined) {
        building = { name: entry.name };
        found.push(building);
      }
      if (entry.hardwareAddress !== undefined) building['hardware-address'] ??= entry.hardwareAddress;
      if (entry.family === undefined || entry.address === undefined) continue;
      building['ip-addresses'] ??= [];
      building['ip-addresses'].push({ 'ip-address-type': entry.family, 'ip-address': entry.address, prefix: entry.prefix ?? 0 });
      if (building.statistics === undefined) {
        const statistics = readStatistics(table, entry.name);
        if (statistics !== undefined) building.statistics = statistics;
      }
    }
    return found;
  },
};

/** proc(5), /proc/net/dev: bytes packets errs drop fifo frame compressed multicast, received and then sent. */
function readStatistics(table: string, name: string): Statistics | undefined {
  for (const line of table.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0 || line.slice(0, colon).trim() !== name) continue;
    const numbers = line
      .slice(colon + 1)
      .split(' ')
      .filter((word) => word !== '');
    if (numbers.length < 16) continue;
    const at = (index: number): Json => decodeInteger(numbers[index] ?? '0');
    return {
      'rx-bytes': at(0),
      'rx-packets': at(1),
      'rx-errs': at(2),
      'rx-dropped': at(3),
      'tx-bytes': at(8),
      'tx-packets': at(9),
      'tx-errs': at(10),
      'tx-dropped': at(11),
    };
  }
  return undefined;
}
