import path from 'node:path';
import { AppError, toAppError } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/units.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';
import { Connection } from '../libvirt/connection.ts';
import { stateDirectory } from '../state/directory.ts';
import { gatherMonitored } from './monitor.ts';
import { judgeNagios, nagiosStatus, type NagiosLimits } from './nagios.ts';
import { renderPrometheus, writeTextfile } from './prometheus.ts';

/** `virt-trim report --prometheus FILE`; `-` is stdout. */
export async function runPrometheus(context: CommandContext, file: string): Promise<number> {
  const connection = new Connection(context.uri);
  const monitored = await gatherMonitored(connection, { stateDirectory: stateDirectory(context.env), signal: context.signal });
  const text = renderPrometheus(monitored);
  if (file === '-') context.out(text);
  else await writeTextfile(path.resolve(file), text);
  return exitStatus.done;
}

function readSeconds(option: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new AppError('usage', `${option} ${text}: expected a duration such as 5m, 1h or 30d`);
  return ms / 1000;
}

/** `virt-trim report --nagios`: a plugin's line and status. What goes wrong is UNKNOWN, and said on stdout, where Nagios looks. */
export async function runNagios(context: CommandContext, options: { readonly frozen: string; readonly full: string }): Promise<number> {
  const limits: NagiosLimits = { frozenSeconds: readSeconds('--frozen', options.frozen), fullSeconds: readSeconds('--full', options.full) };
  try {
    const connection = new Connection(context.uri);
    const monitored = await gatherMonitored(connection, { stateDirectory: stateDirectory(context.env), signal: context.signal });
    const { status, line } = judgeNagios(monitored, limits);
    context.out(`${line}\n`);
    return status;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted' || error.code === 'internal') throw error;
    context.out(`VIRT-TRIM UNKNOWN - ${error.message.replace(/[|\n]/g, ' ')}\n`);
    return nagiosStatus.unknown;
  }
}
