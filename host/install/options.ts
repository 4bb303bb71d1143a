import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/units.ts';
import { checkSelection } from '../trim/select.ts';
import { isWay, ways, type AgentChoice, type Way } from './ways.ts';

/** The options as commander gives them. */
export interface RawInstallOptions {
  readonly allMissing?: boolean;
  readonly exclude?: readonly string[];
  readonly via?: string;
  readonly agent?: string;
  readonly package?: readonly string[];
  readonly ssh?: string;
  readonly sshConfig?: string;
  readonly iso?: string;
  readonly boot?: boolean;
  readonly upgrade?: boolean;
  readonly print?: boolean;
  readonly timeout?: string;
  readonly dryRun?: boolean;
}

export interface InstallOptions {
  readonly allMissing: boolean;
  readonly exclude: readonly string[];
  /** Null: the first way that works. */
  readonly via: Way | null;
  /** Null: the distribution's qemu-ga where it has one, else ours. */
  readonly agent: AgentChoice | null;
  /** Package files of the host, for guests without network. Absolute. */
  readonly packages: readonly string[];
  /** `[user@]host[:port]`, with `{name}` for the domain's name. */
  readonly ssh: string | null;
  /** ssh(1) -F. */
  readonly sshConfig: string | null;
  /** The virtio-win ISO. */
  readonly iso: string | null;
  readonly boot: boolean;
  readonly upgrade: boolean;
  readonly print: boolean;
  readonly timeoutSeconds: number;
  readonly dryRun: boolean;
}

/** qemu-ga of a full distribution under software emulation takes its time from power-on. */
const defaultTimeoutSeconds = 300;

function existingFile(option: string, text: string): string {
  const file = path.resolve(text);
  if (!existsSync(file) || !statSync(file).isFile())
    throw new AppError('usage', `${option} '${text}': no such file`, { context: { option } });
  return file;
}

function viaOf(text: string | undefined): Way | null {
  if (text === undefined) return null;
  if (!isWay(text)) throw new AppError('usage', `--via '${text}': expected one of ${ways.join(', ')}`, { context: { option: '--via' } });
  return text;
}

function agentOf(text: string | undefined): AgentChoice | null {
  if (text === undefined || text === 'auto') return null;
  if (text !== 'qemu-ga' && text !== 'virt-trim')
    throw new AppError('usage', `--agent '${text}': expected auto, qemu-ga or virt-trim`, { context: { option: '--agent' } });
  return text;
}

/** A destination never begins with a dash: ssh would take it for an option. */
const destinationPattern = /^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9{][A-Za-z0-9_.{}-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;

function sshOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  if (!destinationPattern.test(text)) {
    throw new AppError('usage', `--ssh '${text}': expected [USER@]HOST[:PORT], where {name} stands for the domain's name`, {
      context: { option: '--ssh' },
    });
  }
  return text;
}

function packageOf(text: string): string {
  const file = existingFile('--package', text);
  if (!/^[A-Za-z0-9][A-Za-z0-9_.+~:%-]*\.(?:deb|rpm|apk|pkg\.tar\.(?:zst|xz))$/.test(path.basename(file)))
    throw new AppError('usage', `--package '${text}': expected a .deb, .rpm, .apk or .pkg.tar.zst file`, {
      context: { option: '--package' },
    });
  return file;
}

/** @throws AppError `usage`, naming the option, its value and what is expected. */
export function readInstallOptions(domains: readonly string[], raw: RawInstallOptions): InstallOptions {
  checkSelection({ words: domains, all: raw.allMissing === true });
  const milliseconds = raw.timeout === undefined ? defaultTimeoutSeconds * 1000 : parseDuration(raw.timeout);
  if (milliseconds === null || milliseconds < 1000 || milliseconds > 86_400_000)
    throw new AppError('usage', `--timeout '${raw.timeout ?? ''}': expected a duration from 1s to 1d`, {
      context: { option: '--timeout' },
    });
  const via = viaOf(raw.via);
  if (via === 'ssh' && raw.ssh === undefined) throw new AppError('usage', '--via ssh needs --ssh [USER@]HOST[:PORT]');
  if (raw.allMissing === true && raw.ssh !== undefined && !raw.ssh.includes('{name}'))
    throw new AppError('usage', `--ssh '${raw.ssh}': with --all-missing it must hold {name}, or every guest would be the same one`);
  if (raw.print === true && via !== 'cloud-init') throw new AppError('usage', '--print belongs to --via cloud-init');
  if (raw.package !== undefined && raw.agent === 'virt-trim')
    throw new AppError('usage', '--package brings qemu-ga, --agent says virt-trim');
  return {
    allMissing: raw.allMissing === true,
    exclude: raw.exclude ?? [],
    via,
    agent: raw.package === undefined ? agentOf(raw.agent) : 'qemu-ga',
    packages: (raw.package ?? []).map(packageOf),
    ssh: sshOf(raw.ssh),
    sshConfig: raw.sshConfig === undefined ? null : existingFile('--ssh-config', raw.sshConfig),
    iso: raw.iso === undefined ? null : existingFile('--iso', raw.iso),
    boot: raw.boot === true,
    upgrade: raw.upgrade === true,
    print: raw.print === true,
    timeoutSeconds: Math.ceil(milliseconds / 1000),
    dryRun: raw.dryRun === true,
  };
}
