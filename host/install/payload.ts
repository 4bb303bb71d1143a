import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/errors.ts';
import { guestDirectory, loadOwnAgent, type OwnAgent } from './own-agent.ts';

/** Files that go into the guest, beside each other in one folder: name → content. */
export type Payload = ReadonlyMap<string, Uint8Array>;

export const programName = 'in-guest.sh';

/** Beside the sources, or in `dist/install` behind the bundle's `dist/*.js` and `dist/chunks/*.js`. */
const programCandidates = ['./', './install/', '../install/'];
/** in-guest.sh knows them by these names. */
const serviceNames = ['virt-trim-agent.service', 'virt-trim-agent.openrc', 'virt-trim-agent.init'];

function firstFolder(folders: readonly string[], name: string): string {
  const found = folders.map((folder) => fileURLToPath(new URL(folder + name, import.meta.url))).find((file) => existsSync(file));
  if (found === undefined) throw new AppError('internal', `${name}: not part of this installation; build it with: npm run build`);
  return found;
}

/**
 * What an install needs in the guest. Our own agent comes along for those architectures that are asked for, verified; none where ours shall not be used.
 * @throws AppError `tool-missing`, `refused` for an agent that is not what SHA256SUMS says.
 */
export async function buildPayload(
  own: readonly OwnAgent[],
  wants: { readonly architectures: readonly string[]; readonly packages: readonly string[] },
): Promise<Payload> {
  const payload = new Map<string, Uint8Array>();
  payload.set(programName, await readFile(firstFolder(programCandidates, programName)));
  const sums: string[] = [];
  for (const architecture of wants.architectures) {
    const agent = await loadOwnAgent(own, architecture);
    const name = `virt-trim-agent-${agent.arch}`;
    payload.set(name, agent.content);
    sums.push(`${agent.sha256}  ${name}\n`);
  }
  if (sums.length > 0) {
    for (const name of serviceNames) payload.set(name, await readFile(path.join(guestDirectory() ?? '', 'init', name)));
    payload.set('SHA256SUMS', Buffer.from(sums.join('')));
  }
  for (const file of wants.packages) payload.set(`packages/${path.basename(file)}`, await readFile(file));
  return payload;
}

/** A word that ends a here-document and stands in no base64 text. */
const endWord = 'VIRT_TRIM_END';

/**
 * The payload as one shell program for `sh -s`: it unpacks itself into a folder of a name that we chose, runs in-guest.sh there and
 * removes the folder. Its body is one function, so that a connection that breaks while it is sent runs none of it.
 * @param id 12 hexadecimal digits. @param args words of ours, never a guest's.
 */
export function selfExtracting(payload: Payload, id: string, args: readonly string[]): string {
  if (!/^[0-9a-f]{12}$/.test(id) || args.some((word) => !/^[a-z-]+$/.test(word)))
    throw new AppError('internal', 'unsafe words for a guest');
  const folder = `/tmp/virt-trim-${id}`;
  const lines = [
    'main() {',
    'export LC_ALL=C; umask 077',
    `rm -rf ${folder}; mkdir ${folder} || exit 22`,
    `trap 'rm -rf ${folder}' EXIT; trap 'exit 143' TERM HUP INT`,
    'unpack() {',
    '  if command -v base64 >/dev/null 2>&1; then base64 -d; elif command -v openssl >/dev/null 2>&1; then openssl base64 -d;',
    '  elif command -v busybox >/dev/null 2>&1; then busybox base64 -d; else exit 29; fi',
    '}',
  ];
  for (const [name, content] of payload) {
    if (!/^(?:packages\/)?[A-Za-z0-9][A-Za-z0-9_.+~:%-]*$/.test(name)) throw new AppError('internal', `unsafe file name ${name}`);
    if (name.startsWith('packages/')) lines.push(`mkdir -p ${folder}/packages`);
    const text = Buffer.from(content)
      .toString('base64')
      .replaceAll(/(.{76})/g, '$1\n');
    lines.push(`unpack >${folder}/${name} <<'${endWord}' || exit 22`, text.trimEnd(), endWord);
  }
  lines.push(`sh ${folder}/${programName} ${args.join(' ')} </dev/null`, '}', 'main', '');
  return lines.join('\n');
}
