import { execa } from 'execa';
import { parseMachineType, virtioBlkDiscard } from '../../host/doctor/machine-type.ts';
import { parseVersion } from '../../host/doctor/version.ts';

/**
 * Asks a real QEMU, machine type by machine type, whether its virtio-blk offers discard (the `discard` property of a device that is
 * plugged in), and compares with what doctor believes. Nothing is booted.
 *
 *   npx tsx test/bench/doctor-machine-types.ts [qemu-system-…]
 */

const program = process.argv[2] ?? 'qemu-system-x86_64';

/** The virtio-blk device for a machine: by bus. */
function deviceOf(machine: string): string {
  if (machine === 'microvm') return 'virtio-blk-device';
  return machine.startsWith('s390') ? 'virtio-blk-ccw' : 'virtio-blk-pci';
}

async function ask(machine: string): Promise<boolean | string> {
  const drive = ['-blockdev', 'driver=null-co,node-name=n,size=1048576,read-zeroes=on', '-device', `${deviceOf(machine)},drive=n,id=d`];
  const args = ['-machine', machine, '-nodefaults', '-display', 'none', '-S', ...drive, '-qmp', 'stdio'];
  const path = machine === 'microvm' ? '/machine/peripheral/d' : '/machine/peripheral/d/virtio-backend';
  const input = [
    '{"execute":"qmp_capabilities"}',
    `{"execute":"qom-get","arguments":{"path":"${path}","property":"discard"}}`,
    '{"execute":"quit"}',
  ];
  const { stdout, stderr } = await execa(program, args, { input: `${input.join('\n')}\n`, reject: false, timeout: 20_000 });
  const answer = /"return": (true|false)/.exec(stdout)?.[1];
  return answer === undefined ? (stderr.split('\n')[0] ?? 'no answer') : answer === 'true';
}

const [help, version] = await Promise.all([execa(program, ['-machine', 'help']), execa(program, ['--version'])]);
const qemu = parseVersion(version.stdout);
const machines = help.stdout
  .split('\n')
  .slice(1)
  .flatMap((line) => line.split(' ')[0] ?? [])
  .filter((name) => name !== '' && name !== 'none');
let agreed = 0;
const different: string[] = [];
const unasked: string[] = [];
for (const machine of machines) {
  const real = await ask(machine);
  const believed = virtioBlkDiscard(parseMachineType(machine), qemu).offered;
  if (typeof real === 'string') unasked.push(`${machine} (${real.slice(0, 80)})`);
  else if (real === believed) agreed += 1;
  else different.push(`${machine}: QEMU ${real}, doctor ${believed}`);
}
console.log(`${program} ${version.stdout.split('\n')[0]}: ${machines.length} machine types, ${agreed} agree, ${different.length} differ`);
for (const one of different) console.log(`differs: ${one}`);
console.log(`could not be asked: ${unasked.join('; ') || 'none'}`);
