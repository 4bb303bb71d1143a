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
const liveNames = 'virsh -q ${uri:+-c "$uri"} list --all --name 2>/dev/null';

function renderBash(commands: readonly CommandWords[], globals: readonly string[]): string {
  const cases = commands
    .map(
      (command) =>
        `    ${command.name}) words='${[...command.subcommands, ...command.flags].join(' ')}'; domains=${command.takesDomains ? 1 : 0} ;;`,
    )
    .join('\n');
  return `# bash completion for virt-trim; made by "virt-trim completion bash"
_virt_trim() {
  local cur=\${COMP_WORDS[COMP_CWORD]} uri='' verb='' words='' domains=0 i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      -c|--connect) ((i++)); uri=\${COMP_WORDS[i]} ;;
      -*) ;;
      *) verb=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $verb in
    '') words='${[...commands.map((command) => command.name), ...globals].join(' ')}' ;;
${cases}
  esac
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "\${words// /$'\\n'}" -- "$cur"))
  if ((domains)) && [[ $cur != -* ]]; then
    local name
    while read -r name; do
      [[ -n $name && $name == "$cur"* ]] && COMPREPLY+=("$(printf '%q' "$name")")
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
  local -a verbs names
  local uri='' verb='' i
  verbs=(
${verbs}
  )
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      -c|--connect) ((i++)); uri=$words[i] ;;
      -*) ;;
      *) verb=$words[i]; break ;;
    esac
  done
  if [[ -z $verb ]]; then
    _describe command verbs
    compadd -- ${globals.join(' ')}
    return
  fi
  names=(\${(f)"$(${liveNames})"})
  case $verb in
${cases}
  esac
}
compdef _virt_trim virt-trim
`;
}

function renderFish(commands: readonly CommandWords[], globals: readonly string[]): string {
  const quote = (text: string) => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
  const flag = (name: string) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`);
  const lines = [
    '# made by "virt-trim completion fish"',
    "function __virt_trim_domains; virsh -q list --all --name 2>/dev/null | string match -rv '^$'; end",
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
