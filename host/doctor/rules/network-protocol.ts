import type { Judgement } from '../finding.ts';
import type { XmlRule } from '../subject.ts';

/** QEMU's network drivers with a discard operation of their own (block/*.c), those that pass it on if the server wants it, and the deaf. */
const passes: readonly string[] = ['rbd', 'gluster'];
const asksServer: Readonly<Record<string, string>> = {
  nbd: "the server decides: 'nbdinfo --can trim URI' asks it",
  iscsi: "the target decides: 'sg_vpd -p lbpv' on the initiator, or 'iscsi-inq', shows LBPU",
  sheepdog: 'the cluster decides',
};
const deaf: readonly string[] = ['ssh', 'nfs', 'http', 'https', 'ftp', 'ftps', 'tftp', 'vxhs'];

export const networkProtocol: XmlRule = {
  id: 'network-protocol',
  layer: 'host',
  judge: ({ disk }): Judgement | null => {
    if (disk.type !== 'network') return null;
    const protocol = disk.protocol ?? '?';
    const evidence = `<source protocol='${protocol}'/>`;
    if (passes.includes(protocol)) return { verdict: 'ok', evidence, message: `QEMU's ${protocol} driver passes discards on` };
    if (deaf.includes(protocol)) {
      return {
        verdict: 'blocks',
        evidence,
        message: `QEMU's ${protocol} driver has no discard: the server never hears of it`,
        fix: { command: `attach the storage through the host instead of ${protocol}`, automatic: false, needsColdStart: true },
      };
    }
    return { verdict: 'unknown', evidence, message: asksServer[protocol] ?? `nothing is known about discards over '${protocol}'` };
  },
};
