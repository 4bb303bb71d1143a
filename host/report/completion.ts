import type { Command } from 'commander';

/** What a shell needs to know of one command. */
interface CommandWords {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly string[];
  readonly takesDomains: boolean;
  readonly subcommands: readonly string[];
}

function flagsOf(command: Command): string[] {
  return command.options
    .filter((option) => !option.hidden)
    .flatMap((option) => [option.long, option.short].filter((flag) => flag !== undefined && flag !== null));
}

function describe(command: Command): CommandWords {
  return {
    name: command.name(),
    summary: command.summary() || command.description(),
    flags: flagsOf(command),
    takesDomains: [command, ...command.commands].some((each) =>
      each.registeredArguments.some((argument) => argument.name().startsWith('domain')),
    ),
    subcommands: command.commands.map((sub) => sub.name()),
  };
}

/** Live names: virsh answers in 14 ms, a Node start-up would be felt at every press of Tab. */
const liveNames = 'virsh -q "${connect[@]}" list --all --name 2>/dev/null';

function renderBash(commands: readonly CommandWords[], globals: readonly string[]): string {
  const cases = commands
    .map(
      (command) =>
        `    ${command.name}) words='${[...command.subcommands, ...command.flags].join(' ')}'; domains=${command.takesDomains ? 1 : 0} ;;`,
    )
    .join('\n');
  return `# bash completion for virt-trim; made by "virt-trim completion bash"
_virt_trim() {
  # The line itself: in COMP_WORDS a URI is in pieces, cut at its ':' and '='.
  local line=\${COMP_LINE:0:COMP_POINT} cur='' uri='' verb='' words='' prefix='' domains=0 given i
  read -a given <<< "$line"
  if [[ $line != *[[:space:]] ]]; then cur=\${given[-1]}; unset 'given[-1]'; fi
  for ((i = 1; i < \${#given[@]}; i++)); do
    case \${given[i]} in
      -c|--connect) ((i++)); uri=\${given[i]-} ;;
      -*) ;;
      *) verb=\${given[i]}; break ;;
    esac
  done
  COMPREPLY=()
  case \${given[-1]} in -c|--connect) return ;; esac
  case $verb in
    '') words='${[...commands.map((command) => command.name), ...globals].join(' ')}' ;;
${cases}
  esac
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "\${words// /$'\\n'}" -- "$cur"))
  if ((domains)) && [[ $cur != -* ]]; then
    # Bash replaces what stands behind the last of its word breaks, not the whole word.
    [[ $cur == *[:=]* && $COMP_WORDBREAKS == *[:=]* ]] && prefix=\${cur%"\${cur##*[:=]}"}
    local name connect=()
    [[ -n $uri ]] && connect=(-c "$uri")
    while IFS= read -r name; do
      [[ -n $name && $name == "$cur"* ]] && COMPREPLY+=("$(printf '%q' "\${name#"$prefix"}")")
    done < <(${liveNames})
  fi
}
complete -F _virt_trim virt-trim
`;
}

function renderZsh(commands: readonly CommandWords[], globals: readonly string[]): string {
  const quote = (text: string) => text.replaceAll("'", "'\\''").replaceAll(':', '\\:');
  const verbs = commands.map((command) => `    '${command.name}:${quote(command.summary)}'`).join('\n');
  const cases = commands
    .map(
      (command) =>
        `    ${command.name}) compadd -- ${[...command.subcommands, ...command.flags].join(' ')}${command.takesDomains ? '; compadd -- $names' : ''} ;;`,
    )
    .join('\n');
  return `#compdef virt-trim
# made by "virt-trim completion zsh"
_virt_trim() {
  local -a verbs names connect
  local uri='' verb='' i
  verbs=(
${verbs}
  )
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      -c|--connect) ((i++)); uri=\${(Q)words[i]} ;;
      -*) ;;
      *) verb=$words[i]; break ;;
    esac
  done
  if [[ -z $verb ]]; then
    _describe command verbs
    compadd -- ${globals.join(' ')}
    return
  fi
  [[ -n $uri ]] && connect=(-c "$uri")
  names=(\${(f)"$(${liveNames})"})
  case $verb in
${cases}
  esac
}
# Sourced, or found in fpath, where this file is the function's first call.
if [[ $funcstack[1] == _virt_trim ]]; then _virt_trim "$@"; else compdef _virt_trim virt-trim; fi
`;
}

function renderFish(commands: readonly CommandWords[], globals: readonly string[]): string {
  const quote = (text: string) => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
  const flag = (name: string) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`);
  const lines = [
    '# made by "virt-trim completion fish"',
    'function __virt_trim_domains',
    '  set -l words (commandline -opc)',
    '  set -l at (contains -i -- -c $words; or contains -i -- --connect $words)',
    '  set -l connect',
    '  test -n "$at"; and set connect -c $words[(math $at + 1)]',
    "  virsh -q $connect list --all --name 2>/dev/null | string match -rv '^$'",
    'end',
    'complete -c virt-trim -f',
    ...globals.map((name) => `complete -c virt-trim ${flag(name)}`),
  ];
  for (const command of commands) {
    const seen = `-n '__fish_seen_subcommand_from ${command.name}'`;
    lines.push(`complete -c virt-trim -n __fish_use_subcommand -a ${command.name} -d '${quote(command.summary)}'`);
    lines.push(...command.flags.map((name) => `complete -c virt-trim ${seen} ${flag(name)}`));
    if (command.subcommands.length > 0) lines.push(`complete -c virt-trim ${seen} -a '${command.subcommands.join(' ')}'`);
    if (command.takesDomains) lines.push(`complete -c virt-trim ${seen} -a '(__virt_trim_domains)'`);
  }
  return `${lines.join('\n')}\n`;
}

/** The script for a shell, or null for one we do not know. */
export function renderCompletion(program: Command, shell: string): string | null {
  const commands = program.commands.map(describe);
  const globals = flagsOf(program);
  switch (shell) {
    case 'bash':
      return renderBash(commands, globals);
    case 'zsh':
      return renderZsh(commands, globals);
    case 'fish':
      return renderFish(commands, globals);
    default:
      return null;
  }
}
