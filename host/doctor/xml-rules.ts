import { backingChain } from './rules/backing-chain.ts';
import { bus } from './rules/bus.ts';
import { detectZeroes } from './rules/detect-zeroes.ts';
import { domainType } from './rules/domain-type.ts';
import { driverDiscard } from './rules/driver-discard.ts';
import { imageFormat } from './rules/image-format.ts';
import { lun } from './rules/lun.ts';
import { machineType } from './rules/machine-type.ts';
import { networkProtocol } from './rules/network-protocol.ts';
import { qemuArguments } from './rules/qemu-arguments.ts';
import { shareable } from './rules/shareable.ts';
import { transient } from './rules/transient.ts';
import { vhostUser } from './rules/vhost-user.ts';
import { isTrimmable, type XmlDisk, type XmlRule } from './subject.ts';
import { toFinding, type Finding } from './finding.ts';

/** The rules that the domain XML alone decides, in the order in which a discard travels. */
export const xmlRules: readonly XmlRule[] = [
  domainType,
  bus,
  machineType,
  lun,
  vhostUser,
  driverDiscard,
  detectZeroes,
  qemuArguments,
  shareable,
  imageFormat,
  transient,
  backingChain,
  networkProtocol,
];

/** What the XML says about a disk; nothing at all for one that has nothing to trim. */
export function judgeXml(subject: XmlDisk): Finding[] {
  if (!isTrimmable(subject.disk)) return [];
  return xmlRules.flatMap((rule) => {
    const judgement = rule.judge(subject);
    return judgement === null ? [] : [toFinding(rule, subject.disk.target, judgement)];
  });
}
