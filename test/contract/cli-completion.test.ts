import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from '../rig/cli.ts';
import { hostileDomains, writeTestNode } from './test-node.ts';

let directory: string;
let node: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'virt-trim-completion-'));
  node = await writeTestNode(path.join(directory, 'node.xml'), hostileDomains);
  await using cli = await Cli.create('');
  for (const shell of ['bash', 'zsh', 'fish'])
    await writeFile(path.join(directory, shell), `${(await cli.run('completion', shell)).stdout}\n`);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const script = (shell: string): string => path.join(directory, shell);

/** A real bash sources the script and is driven as readline drives it: the line, its words cut at bash's own word breaks. */
async function bash(line: string): Promise<string[]> {
  const driver = `source "$1"
    COMP_LINE=$2 COMP_POINT=\${#2}
    read -ra COMP_WORDS <<< "\${2//[:=]/ & }"; [[ $2 == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
    _virt_trim virt-trim "\${COMP_WORDS[COMP_CWORD]}" x
    printf '%s\\n' "\${COMPREPLY[@]}"; complete -p virt-trim >&2`;
  const { stdout, stderr } = await execa('bash', ['--noprofile', '--norc', '-c', driver, 'bash', script('bash'), line]);
  expect(stderr).toBe('complete -F _virt_trim virt-trim');
  return stdout.split('\n').filter((word) => word !== '');
}

async function zsh(line: string): Promise<string[]> {
  const driver = `compdef() { : }; compadd() { shift; print -l -- "$@" }; _describe() { print -l -- \${\${(P)2}%%:*} }
    source $1; words=(\${(z)2}); [[ $2 == *' ' ]] && words+=(''); CURRENT=$#words; _virt_trim`;
  return (await execa('zsh', ['-f', '-c', driver, 'zsh', script('zsh'), line])).stdout.split('\n');
}

async function fish(line: string): Promise<string[]> {
  const driver = 'source $argv[1]; complete -C $argv[2]';
  const { stdout } = await execa('fish', ['--no-config', '-c', driver, script('fish'), line], { env: { HOME: directory } });
  return stdout.split('\n').map((each) => each.split('\t')[0] ?? '');
}

const shells = { bash, zsh, fish } as const;
/** bash is everywhere; the others are driven where they are. */
const installed: (keyof typeof shells)[] = ['bash'];
for (const shell of ['zsh', 'fish'] as const) {
  const { failed } = await execa(shell, ['--version'], { reject: false });
  if (!failed) installed.push(shell);
}

describe.each(installed)('%s', (shell) => {
  const complete = shells[shell];

  it('knows the commands', async () => {
    expect(await complete('virt-trim tri')).toContain('trim');
    expect(await complete('virt-trim ')).toEqual(expect.arrayContaining(['list', 'trim', 'completion']));
  });

  it('knows the options of a command', async () => {
    expect(await complete('virt-trim trim --pa')).toContain('--parallel');
    expect(await complete('virt-trim list --pr')).toContain('--probe');
  });

  it('asks the connection of the command line for its domains, though its URI has : and = in it', async () => {
    expect(await complete('virt-trim -c test:///default trim ')).toContain('test');
    expect((await complete(`virt-trim -c ${node} trim `)).filter((word) => /^(?:all|ünïcödé)$/.test(word)).toSorted()).toEqual([
      'all',
      'ünïcödé',
    ]);
  });
});

it('bash gets names quoted: what is completed is one word again', async () => {
  const [quoted, ...others] = await bash(`virt-trim -c ${node} trim it`);
  expect(others).toEqual([]);
  const { stdout } = await execa('bash', ['-c', `printf '%s' ${quoted ?? ''}`]);
  expect(stdout).toBe(hostileDomains[1]?.name);
});

it('bash offers no domains where none is wanted, and nothing behind -c', async () => {
  expect(await bash('virt-trim -c test:///default list ')).not.toContain('test');
  expect(await bash('virt-trim -c ')).toEqual([]);
});
