import { Help, type Command } from 'commander';

/** roff needs its backslashes, leading dots and quotes escaped (groff_man(7)). */
function escape(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

function optionEntries(command: Command): string {
  return command.options
    .filter((option) => !option.hidden)
    .map((option) => `.TP\n.B ${escape(option.flags)}\n${escape(new Help().optionDescription(option))}\n`)
    .join('');
}

function leafCommands(command: Command, prefix: string): { name: string; command: Command }[] {
  return command.commands
    .filter((sub) => sub.name() !== 'help')
    .flatMap((sub) => {
      const name = `${prefix}${sub.name()}`;
      const below = leafCommands(sub, `${name} `);
      return below.length > 0 ? below : [{ name, command: sub }];
    });
}

function commandSection(name: string, command: Command): string {
  const positional = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}${argument.variadic ? '...' : ''}>` : `[${argument.name()}${argument.variadic ? '...' : ''}]`,
  );
  const usage = ['virt-trim', name, ...(command.options.length > 0 ? ['[options]'] : []), ...positional].join(' ');
  const after = afterHelp(command);
  return (
    `.SS ${escape(name)}\n.B ${escape(usage)}\n.PP\n${escape(command.description())}\n${optionEntries(command)}` +
    (after === '' ? '' : `.PP\n.nf\n${escape(after)}\n.fi\n`)
  );
}

/** What `addHelpText('after')` adds, by asking the command for its whole help and taking what stands behind commander's own part. */
function afterHelp(command: Command): string {
  const own = command.helpInformation();
  let all = '';
  const previous = command.configureOutput();
  command.configureOutput({ ...previous, writeOut: (text) => (all += text) });
  command.outputHelp();
  command.configureOutput(previous);
  return all.startsWith(own) ? all.slice(own.length).trim() : '';
}

/** The manual page, section 8, from the command definitions. */
export function renderManPage(program: Command): string {
  const commands = leafCommands(program, '');
  return (
    `.\\" Made by "virt-trim man" from the command definitions; do not edit.\n` +
    `.TH VIRT-TRIM 8 "" "virt-trim ${program.version() ?? ''}" "System Administration"\n` +
    `.SH NAME\nvirt\\-trim \\- ${escape(program.description())}\n` +
    `.SH SYNOPSIS\n.B virt\\-trim\n[\\-c URI] [\\-\\-json] [\\-q|\\-v] COMMAND [ARGUMENT...]\n` +
    `.SH DESCRIPTION\nA domain is given by name, UUID or id. Results go to stdout, everything else to stderr.\n` +
    `.SH OPTIONS\n${optionEntries(program)}` +
    `.SH COMMANDS\n${commands.map(({ name, command }) => commandSection(name, command)).join('')}` +
    `.SH EXIT STATUS AND ENVIRONMENT\n.nf\n${escape(afterHelp(program))}\n.fi\n` +
    `.SH SEE ALSO\n.BR virsh (1),\n.BR fstrim (8),\n.BR fsfreeze (8),\n.BR qemu\\-ga (8)\n`
  );
}
